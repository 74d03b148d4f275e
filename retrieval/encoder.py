"""Runs exported models without a training stack: queries and catalogues → vectors."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from retrieval.user_tower.encode import CompiledTowers
from towers.errors import ConfigError, ReleaseError
from towers.evaluation.cut import cut
from towers.exported import read_object
from towers.ladder.fold_in import FoldInEncoder, FoldInSettings
from towers.nets.two_tower import TwoTower, fingerprint, load_towers
from towers.recommender import Queries
from towers.settings import settings_from_plain

FACTORS_FILE = "factors.json"
"""How histories are folded in beside the item factors of iALS."""


class LoadedTowers(NamedTuple):
    """Towers and the SHA-256 of the files that they were loaded from."""

    towers: TwoTower
    fingerprint: str


def loaded_towers(folder: Path) -> LoadedTowers:
    """Those of an export folder; raises as `load_towers`."""
    return LoadedTowers(load_towers(folder), fingerprint(folder))


class QueryEncoder:
    """Queries → unit vectors in the space of the item vectors it was opened with.

    A query has one, or as many as the towers were trained to have interests: `num_interests` in model.json.
    dimension: D. fingerprint: SHA-256 of the towers, the same for every copy of one export.
    profile_columns: what it reads of a profile beside the country, as the towers were trained to.
    towers: both, as they were loaded.
    """

    def __init__(self, towers: TwoTower, item_vectors: Float32[np.ndarray, "N D"], fingerprint: str) -> None:
        dimension = towers.settings.dim
        if item_vectors.ndim != 2 or item_vectors.shape[1] != dimension:
            raise ReleaseError(f"item vectors are {item_vectors.shape}; expected (items, {dimension})")
        self.dimension = dimension
        self.fingerprint = fingerprint
        self.profile_columns = towers.encoder.profile_columns
        self.towers = towers
        self._towers = CompiledTowers(towers, item_vectors)

    def encode(self, queries: Queries) -> Float32[np.ndarray, "Q *K D"]:
        """Unit vectors per query, (Q, K, D) of K > 1 interests; without a history its profile's prior."""
        return self._towers.encode(queries)


class PrefixEncoder:
    """The first numbers of another encoder's query vectors, of unit length again.

    The towers read whole vectors of what was watched still; what is cut is what is searched by. Of use where
    they were trained for it: `objective.matryoshka`, or the first of several members.
    """

    def __init__(self, whole: QueryEncoder, dimension: int) -> None:
        if not 1 <= dimension <= whole.dimension:
            raise ReleaseError(f"dimension: {dimension}; expected 1 to {whole.dimension}, the towers' own")
        self.dimension = dimension
        self.fingerprint = whole.fingerprint
        self.profile_columns = whole.profile_columns
        self.towers = whole.towers
        self._whole = whole

    def encode(self, queries: Queries) -> Float32[np.ndarray, "Q *K D"]:
        """As `QueryEncoder.encode`, cut."""
        return cut(self._whole.encode(queries), self.dimension)


def load_encoder(
    folder: Path,
    item_vectors: Float32[np.ndarray, "N D"],
    dimension: int | None = None,
    known: LoadedTowers | None = None,
) -> QueryEncoder | PrefixEncoder:
    """The query encoder of an export folder (model.json, towers.safetensors).

    item_vectors: whole. dimension: how many of its vectors' first numbers it gives; all where None. known:
    what is in those files, where they were read before.
    """
    loaded = known or loaded_towers(folder)
    whole = QueryEncoder(loaded.towers, item_vectors, loaded.fingerprint)
    return whole if dimension in (None, whole.dimension) else PrefixEncoder(whole, dimension)


def embed_catalogue(folder: Path, items: pa.Table) -> Float32[np.ndarray, "N D"]:
    """Unit vectors of an items table by the exported item tower; titles new to it are placed by metadata."""
    towers = load_towers(folder)
    return towers.embed(towers.encoder.encode(items))


def save_fold_in(settings: FoldInSettings, folder: Path) -> None:
    """Writes FACTORS_FILE into a folder that exists."""
    (folder / FACTORS_FILE).write_text(json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8")


def load_fold_in(folder: Path, item_vectors: Float32[np.ndarray, "N D"]) -> FoldInEncoder:
    """The query encoder that `save_fold_in` wrote down; ReleaseError where the file is another."""
    path = folder / FACTORS_FILE
    try:
        settings = settings_from_plain(FoldInSettings, read_object(path), str(path))
    except ConfigError as error:
        raise ReleaseError(f"{error}; expected how histories are folded in") from error
    return FoldInEncoder(item_vectors, settings)
