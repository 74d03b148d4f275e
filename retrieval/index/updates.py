"""Items that come, go and change between two builds of an index, whatever its kind.

What goes leaves a tombstone: a bit of a bitmap that every search keeps to. What comes is scanned exactly,
beside the index, until the next build. A changed item goes with its row and comes with a new one.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, Integer, UInt8
from safetensors import SafetensorError
from safetensors.numpy import load, save

from retrieval.completion import complete_topk
from retrieval.eligibility import bitmaps
from retrieval.index.allowed import NO_BITMAP, Allowed, everything
from retrieval.index.delta import Delta, delta_of, scan_delta
from retrieval.index.spec import DepthIndex, Index, SelectiveIndex, check_query, check_vectors
from towers.errors import IndexBuildError, QueryError

UPDATES_FILE = "index_updates.safetensors"
"""What has changed since the index beside it was built."""


@dataclass(frozen=True, slots=True, eq=False)
class UpdatedIndex:
    """An index as it was built, its removed rows left out and added ones joined; a `SelectiveIndex`.

    The build has rows 0 to N - 1, added items the next, N, N + 1 and so on; no row is given twice. Answers
    are those of one index over the vectors that are there, as exact as the kind is for the rows of the
    build and exact for the added: min(k, allowed rows that are there) places are filled.

    Nothing of it ever changes: `add` and `remove` give another one that shares the index and its vectors. So
    a search sees all of an update or nothing, and who serves swaps one reference once several updates are
    done. An update takes as long as the bitmap and the added vectors are to copy: one call for many items.

    base, built: the index, and the vectors it was built of. living: bitmap of its rows that are there. added,
    added_row: vectors and rows, ascending, of the added items that are there. num_rows: rows ever given;
    answers hold rows below it, and bitmaps of what is allowed have a bit for each.
    Raises IndexBuildError where these do not fit each other.
    """

    base: Index
    built: Float32[np.ndarray, "N D"]
    living: UInt8[np.ndarray, " W"]
    added: Float32[np.ndarray, "M D"]
    added_row: Int64[np.ndarray, " M"]
    num_rows: int
    _num_living: Int64[np.ndarray, "1"] = field(init=False, repr=False)
    _selective: SelectiveIndex | None = field(init=False, repr=False)
    _delta: Delta = field(init=False, repr=False)

    def __post_init__(self) -> None:
        num_built = self.base.size
        rows = np.concatenate([[num_built - 1], self.added_row, [self.num_rows]])
        fits = (
            not isinstance(self.base, UpdatedIndex)
            and self.built.shape == (num_built, self.dimension)
            and self.living.shape == (bitmaps.num_bytes(num_built),)
            and not (self.living & ~bitmaps.full(num_built)).any()
            and self.added.shape == (*self.added_row.shape, self.dimension)
            and bool((np.diff(rows[:-1]) > 0).all())
            and rows[-2] < rows[-1]
        )
        if not fits:
            raise IndexBuildError(
                f"index: {self.num_rows} rows, vectors {self.built.shape} and added ones {self.added.shape}; "
                f"expected those of an index as it was built, {(num_built, self.dimension)}, and later rows"
            )
        # What is settled once: a check of the protocol takes as long as many a search.
        object.__setattr__(self, "_selective", self.base if isinstance(self.base, SelectiveIndex) else None)
        object.__setattr__(self, "_delta", delta_of(self.added, self.added_row))
        object.__setattr__(self, "_num_living", np.array([bitmaps.count(self.living)]))

    @classmethod
    def of(cls, base: Index, vectors: Float32[np.ndarray, "N D"]) -> "UpdatedIndex":
        """An index as it was built of these vectors, which are not copied; nothing has changed yet."""
        nothing, no_row = np.empty((0, base.dimension), np.float32), np.empty(0, np.int64)
        return cls(base, vectors, bitmaps.full(base.size), nothing, no_row, base.size)

    @property
    def size(self) -> int:
        """Items that are there: those of the build and the added, the removed ones not counted."""
        return int(self._num_living[0]) + len(self.added)

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return self.base.dimension

    @property
    def added_share(self) -> float:
        """Added items that are there, per item of the build: what every search scans beside it."""
        return len(self.added) / self.base.size

    @property
    def removed_share(self) -> float:
        """Share of the build that was removed: what it still stores and reads for nothing."""
        return 1.0 - int(self._num_living[0]) / self.base.size

    def rows(self) -> Int64[np.ndarray, " size"]:
        """The rows that are there, ascending."""
        return np.concatenate([bitmaps.rows(self.living), self.added_row])

    def vectors(self) -> Float32[np.ndarray, "size D"]:
        """The vectors of the rows that are there, in the order of `rows`: a copy."""
        return np.concatenate([self.built[bitmaps.rows(self.living)], self.added])

    def add(self, vectors: Float32[np.ndarray, "n D"]) -> "UpdatedIndex":
        """The index with n more items; their rows are `num_rows` of this one and those after it.

        No vectors are no change. Raises IndexBuildError on another width than the index has, on NaN and
        infinity, and on vectors too long to be scored.
        """
        if vectors.shape[1] != self.dimension:
            raise IndexBuildError(
                f"index: added vectors have the shape {vectors.shape}; expected (items, {self.dimension})"
            )
        if len(vectors) == 0:
            return self
        check_vectors(vectors)
        num_rows = self.num_rows + len(vectors)
        added = np.concatenate([self.added, vectors], dtype=np.float32)
        added_row = np.concatenate([self.added_row, np.arange(self.num_rows, num_rows)])
        return replace(self, added=added, added_row=added_row, num_rows=num_rows)

    def remove(self, rows: Integer[np.ndarray, " n"]) -> "UpdatedIndex":
        """The index without the n items of these rows, in any order.

        No rows are no change. Raises QueryError on a row that is not there, never given or removed before,
        and on one that is named twice.
        """
        if len(rows) == 0:
            return self
        in_build = (rows >= 0) & (rows < self.base.size)
        old = np.where(in_build, rows, -1)[None]
        there = bitmaps.contains(self.living[None], np.zeros(1, np.int64), old)[0]
        there |= np.isin(rows, self.added_row)
        if not there.all():
            raise QueryError(
                f"index: {int((~there).sum())} rows to remove are not there, the first {rows[~there][0]}; "
                f"expected rows of the {self.size} items that are"
            )
        if len(np.unique(rows)) < len(rows):
            raise QueryError(f"index: {len(rows)} rows to remove, some of them twice; expected each once")
        living = self.living & ~bitmaps.from_rows(rows[in_build], self.base.size)
        kept = ~np.isin(self.added_row, rows)
        return replace(self, living=living, added=self.added[kept], added_row=self.added_row[kept])

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k of what is there, no place left empty that could be filled; see `Index.search`."""
        return self.search_allowed(query, k, everything(len(query)))

    def search_allowed(
        self, query: Float32[np.ndarray, "Q D"], k: int, allowed: Allowed
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k that are there and allowed; see `SelectiveIndex`. Bitmaps are of `num_rows` rows."""
        allowed.check(len(query), self.num_rows)
        of_build = self._of_build(allowed)
        if self._selective is None:
            check_query(query, k, self.dimension)
            score, row = complete_topk(self.base, self.built, query, k, of_build)
        else:
            score, row = self._selective.search_allowed(query, k, of_build)
        scan_delta(self._delta, query, allowed, score, row)
        return score, row

    def _of_build(self, allowed: Allowed) -> Allowed:
        """What is allowed, of the rows of the build that are there."""
        if self.size == self.num_rows == self.base.size:
            return allowed
        num_built = self.base.size
        offset, excluded = allowed.excluded_offset, allowed.excluded
        if self.num_rows > num_built and len(excluded) and excluded.max() >= num_built:
            kept = excluded < num_built
            offset = np.concatenate([[0], np.cumsum(kept)])[offset]
            excluded = excluded[kept]
        if len(allowed.bitmap) == 0:
            if self._num_living[0] == num_built:
                return Allowed.but(offset, excluded)
            line = np.zeros(len(allowed), np.int64)
            return Allowed(self.living[None], line, offset, excluded, self._num_living)
        width = min(allowed.bitmap.shape[1], len(self.living))
        living = self.living[None, :width]
        bitmap = np.concatenate([allowed.bitmap[:, :width] & living, living])
        line = np.where(allowed.line == NO_BITMAP, len(allowed.bitmap), allowed.line)
        return Allowed(bitmap, line, offset, excluded)

    def to(self, stop: float) -> "UpdatedIndex":
        """The same, the build searched so far (`DepthIndex.to`); nothing is copied.

        Raises QueryError where the build has one depth of search.
        """
        if not isinstance(self.base, DepthIndex):
            raise QueryError("index: it has one depth of search; expected one that is told how far to read")
        other, base = copy.copy(self), self.base.to(stop)  # as it is: what `add` makes takes its time
        object.__setattr__(other, "base", base)
        object.__setattr__(other, "_selective", base)
        return other

    def save(self, folder: Path) -> None:
        """Writes the index as it was built, and what has changed since: `save_updates`."""
        self.base.save(folder)
        save_updates(folder, self.living, self.added, self.added_row, (self.base.size, self.num_rows))


def num_rows_of(index: Index) -> int:
    """Rows that an index has given: answers hold rows below it, vectors and bitmaps have a place for each."""
    return index.num_rows if isinstance(index, UpdatedIndex) else index.size


def save_updates(
    folder: Path,
    living: UInt8[np.ndarray, " W"],
    added: Float32[np.ndarray, "M D"],
    added_row: Int64[np.ndarray, " M"],
    num_rows: tuple[int, int],
) -> None:
    """Writes UPDATES_FILE {"living", "added", "added_row", "num_rows"} beside the files of an index.

    living, added, added_row: of an `UpdatedIndex`. num_rows: of the build, and ever given.
    """
    arrays = {"living": living, "added": added, "added_row": added_row, "num_rows": np.array(num_rows)}
    (folder / UPDATES_FILE).write_bytes(save(arrays))


def read_counts(folder: Path) -> tuple[int, int, int]:
    """Of an index that was saved with updates: rows of the build, added items, and rows that have gone."""
    arrays = _read(folder / UPDATES_FILE)
    num_built = int(arrays["num_rows"][0])
    return num_built, len(arrays["added"]), num_built - bitmaps.count(arrays["living"])


def load_updated(
    folder: Path,
    vectors: Float32[np.ndarray, "R D"],
    load_base: Callable[[Float32[np.ndarray, "N D"]], Index],
) -> UpdatedIndex:
    """The index that `UpdatedIndex.save` wrote.

    vectors: of the rows of the build, or of all rows ever given. load_base: the index of those of the build.
    Raises IndexBuildError where the file is of another index, or of other vectors.
    """
    path = folder / UPDATES_FILE
    arrays = _read(path)
    num_built, num_rows = arrays["num_rows"].tolist()
    if len(vectors) not in (num_built, num_rows) or arrays["added"].shape[1] != vectors.shape[1]:
        raise IndexBuildError(
            f"{path}: of {num_built} vectors of {arrays['added'].shape[1]} numbers, and {num_rows} with "
            f"those added; expected vectors like that, not {vectors.shape}"
        )
    added, added_row, built = arrays["added"], arrays["added_row"], vectors[:num_built]
    index = UpdatedIndex(load_base(built), built, arrays["living"], added, added_row, num_rows)
    if len(vectors) == num_rows and not np.array_equal(vectors[added_row], added):
        raise IndexBuildError(f"{path}: added vectors are not those of their rows; expected the same")
    return index


def _read(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of the file, of the types and shapes that they have."""
    expected = {"living": ("uint8", 1), "added": ("float32", 2), "added_row": ("int64", 1)}
    expected["num_rows"] = ("int64", 1)
    try:
        arrays: dict[str, np.ndarray] = load(path.read_bytes())
    except SafetensorError as error:
        raise IndexBuildError(f"{path}: {error}; expected a safetensors file") from error
    kinds = {name: (array.dtype.name, array.ndim) for name, array in arrays.items()}
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if kinds != expected or lengths["num_rows"] != 2 or lengths["added"] != lengths["added_row"]:
        found = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
        raise IndexBuildError(
            f"{path}: holds {found}; expected the updates of an index: living uint8 (W,), added float32 "
            "(M, D), added_row int64 (M,) and num_rows int64 (2,)"
        )
    if len(arrays["added"]):
        check_vectors(arrays["added"])
    return arrays
