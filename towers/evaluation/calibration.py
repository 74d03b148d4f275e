"""Calibration: whether what is shown to a profile is mixed as what it watched, by genre.

Source: Steck, RecSys 2018, Calibrated Recommendations, doi:10.1145/3240323.3240372.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int64

from towers.data.histories import Histories
from towers.errors import QueryError
from towers.recommender import PAD

ALPHA = 0.01
"""How much of the wanted mix is lent to the one shown, so that a genre not shown costs much, not all."""


def genre_shares(items: pa.Table) -> Float64[np.ndarray, "N G"]:
    """p(g|i): a title is of each of its genres in equal parts; the last column is of titles without any."""
    genres = items["genres"].combine_chunks()
    names = pc.unique(pc.list_flatten(genres).drop_null())
    shares = np.zeros((len(genres), len(names) + 1))
    code = pc.index_in(pc.list_flatten(genres), value_set=names).to_numpy(zero_copy_only=False)
    shares[pc.list_parent_indices(genres).to_numpy(), code] = 1.0
    count = shares.sum(axis=1)
    shares[count == 0.0, -1] = 1.0
    shares /= np.maximum(count, 1.0)[:, None]
    return shares


def wanted_mix(history: Histories, shares: Float64[np.ndarray, "N G"]) -> Float64[np.ndarray, "Q G"]:
    """p(g|u) = Σ w_i · p(g|i) / Σ w_i over the history, w_i the weights of the events; 0 of an empty one."""
    mix = np.zeros((len(history), shares.shape[1]))
    weight = history.weight.astype(np.float64)
    np.add.at(mix, history.profile_rows(), weight[:, None] * shares[history.item_row])
    total = mix.sum(axis=1, keepdims=True)
    mixed: np.ndarray = mix / np.where(total > 0.0, total, 1.0)
    return mixed


def shown_mix(
    item_row: Int64[np.ndarray, "Q K"], k: int, shares: Float64[np.ndarray, "N G"]
) -> Float64[np.ndarray, "Q G"]:
    """q(g|u): the mean of p(g|i) over the filled places of the top k; 0 where none is."""
    if not 1 <= k <= item_row.shape[1]:
        raise QueryError(f"k = {k}: expected 1 to {item_row.shape[1]}, the places of the rankings given")
    top = item_row[:, :k]
    filled = top != PAD
    total = np.where(filled[:, :, None], shares[top], 0.0).sum(axis=1)
    mix: np.ndarray = total / np.maximum(1, filled.sum(axis=1))[:, None]
    return mix


def miscalibration(
    wanted: Float64[np.ndarray, "Q G"], shown: Float64[np.ndarray, "Q G"], alpha: float = ALPHA
) -> Float64[np.ndarray, " Q"]:
    """C_KL = Σ_g p(g) · ln(p(g) / q̃(g)), q̃ = (1 - α) q + α p, per question in nats; 0 is calibrated.

    NaN of a question that wants nothing, whose history is empty.
    """
    if not 0.0 < alpha < 1.0:
        raise QueryError(f"alpha = {alpha}; expected between 0 and 1")
    wants = wanted > 0.0
    mixed = (1.0 - alpha) * shown + alpha * wanted
    terms = np.where(wants, wanted * np.log(np.where(wants, wanted, 1.0) / np.where(wants, mixed, 1.0)), 0.0)
    value: np.ndarray = np.where(wants.any(axis=1), terms.sum(axis=1), np.nan)
    return value
