"""Strata of titles by a column of the items table: how probable each title is in a draw of negatives."""

import logging

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float64, Int64

from towers.data.columns import listed_texts, source_column, texts
from towers.errors import ConfigError
from towers.objectives.negatives import stratified
from towers.objectives.settings import ObjectiveSettings

log = logging.getLogger(__name__)


def title_probability(
    items: pa.Table, seen: Bool[np.ndarray, " N"], objective: ObjectiveSettings
) -> Float64[np.ndarray, " N"] | None:
    """The probability of each title in one draw by strata of a column, as `stratified` has it.

    A title with several values is in the stratum of each, in equal parts; those without one are a stratum of
    their own. Cold titles have 0, and a value that only they have is no stratum: there is nothing in it to be
    drawn. None where the objective names no column.

    items: the items table. seen: titles with a train event. Raises ConfigError where the titles that training
    knows are all of one stratum.
    """
    if not objective.by_column:
        return None
    column = objective.strata
    named = items.select([column if column in items.column_names else "attributes"])
    row, stratum = _members(named.filter(pa.array(seen)), column)
    size = np.bincount(stratum)
    if len(size) < 2:
        raise ConfigError(
            f"objective.strata: {column}, in which all {seen.sum():,} titles with a train event are "
            "of one stratum, by one value or by none; expected two at least: objective.negatives=uniform "
            "draws the same"
        )
    log.info(
        "read strata column=%s num_strata=%d smallest_titles=%d largest_titles=%d",
        *(column, len(size), size.min(), size.max()),
    )
    found = np.zeros(len(seen))
    found[seen] = stratified(torch.from_numpy(row), torch.from_numpy(stratum), objective.strata_power).numpy()
    return found


def _members(items: pa.Table, column: str) -> tuple[Int64[np.ndarray, " V"], Int64[np.ndarray, " V"]]:
    """Which titles are in which strata, each pair once, strata numbered from 0; none of them is empty."""
    if pa.types.is_list(source_column(items, column).type):
        row, values = listed_texts(items, column, 0)
    else:
        values = texts(items, column)
        row = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
        values = values.drop_null()
    code = values.dictionary_encode().indices.to_numpy().astype(np.int64)
    without = np.setdiff1d(np.arange(items.num_rows), row)
    own = np.full(len(without), code.max(initial=-1) + 1)
    pairs = np.unique([np.concatenate([row, without]), np.concatenate([code, own])], axis=1)
    return pairs[0], pairs[1]
