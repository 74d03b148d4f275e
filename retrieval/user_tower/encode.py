"""Queries → vectors, by the user towers of an export in machine code."""

import numpy as np
import torch
from jaxtyping import Float32

from retrieval.index.threads import in_spans
from retrieval.user_tower.kernels import encode_queries
from retrieval.user_tower.weights import weights_of
from towers.data.columns import source_column
from towers.data.histories import Histories
from towers.errors import QueryError
from towers.nets.two_tower import TwoTower
from towers.recommender import Queries

# Start tokens kept: with a few features of profiles most requests find theirs. 2^13 of 256 numbers are 8 MiB.
_MAX_STARTS = 1 << 13


class CompiledTowers:
    """The user towers of all members, each compiled; gives what `TwoTower.encode` does, to 1e-5.

    item: whole vectors of the catalogue, not copied. Safe for any number of concurrent readers.
    """

    def __init__(self, towers: TwoTower, item: Float32[np.ndarray, "N D"]) -> None:
        self._towers = towers
        self._item = np.ascontiguousarray(item)
        self._weights = [weights_of(member.users) for member in towers.pairs()]
        self._scale = np.float32(towers.settings.num_members**0.5)
        self._starts: dict[tuple[object, ...], list[np.ndarray]] = {}
        nobody = Queries(Histories.empty(1), np.zeros(1, np.int64), np.array([""]))
        self.encode(nobody)  # compiles

    def encode(self, queries: Queries) -> Float32[np.ndarray, "Q *K D"]:
        """Unit vectors of queries, (Q, K, D) of K > 1 interests; QueryError where a history names no item."""
        settings, history = self._towers.settings, queries.history
        out = np.empty((len(queries), settings.num_interests, settings.dim), np.float32)
        starts = self._starts_of(queries)
        offset, item_row, seconds, asked = (
            _plain(column, np.int64)
            for column in (history.offset, history.item_row, history.time_seconds, queries.time_seconds)
        )
        minutes = _plain(history.minutes, np.float32)

        def span(first: int, last: int) -> None:
            for place, (weights, start) in enumerate(zip(self._weights, starts, strict=True)):
                fault = encode_queries(
                    offset,
                    item_row,
                    seconds,
                    minutes,
                    asked,
                    start,
                    first,
                    last,
                    self._item,
                    place * settings.member_dim,
                    self._scale,
                    weights,
                    out,
                )
                if fault >= 0:
                    raise QueryError(
                        f"history: query {fault} names an item outside of the {len(self._item)} there are"
                    )

        in_spans(span, len(queries))
        return out[:, 0] if settings.num_interests == 1 else out

    def _starts_of(self, queries: Queries) -> list[np.ndarray]:
        """The start token of each query, (Q, E), for each member."""
        if len(queries) != 1:
            return self._computed(queries)
        known: tuple[object, ...] = (str(queries.country[0]),)
        if queries.profiles is not None:
            columns = self._towers.encoder.profile_columns
            known += tuple(source_column(queries.profiles, column)[0].as_py() for column in columns)
        starts = self._starts.get(known)
        if starts is None:
            starts = self._computed(queries)
            if len(self._starts) >= _MAX_STARTS:
                self._starts.clear()
            self._starts[known] = starts
        return starts

    @torch.inference_mode()
    def _computed(self, queries: Queries) -> list[np.ndarray]:
        encoded = self._towers.encoder.encode_profiles(queries.profiles, queries.country)
        row, numeric = torch.from_numpy(encoded.row), torch.from_numpy(encoded.numeric)
        return [
            (member.users.start + member.users.profile(row, numeric)).numpy()
            for member in self._towers.pairs()
        ]


def _plain(column: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """The column as the kernel was compiled for it: it would be made anew for another layout."""
    flags = column.flags
    if column.dtype == dtype and flags.c_contiguous and flags.writeable:
        return column
    return np.require(column, dtype, ["C_CONTIGUOUS", "WRITEABLE"])
