"""Which rows an answer may hold: bitmaps of what passes a rule, and rows left out, query by query."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from towers.data.histories import runs
from towers.errors import QueryError

NO_BITMAP = -1


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which of N rows each of Q queries may be answered.

    bitmap: uint8 (B, W), W >= N / 8; bit i of byte j is row 8 j + i, and those past the last row are 0.
    line: int64 (Q,), the bitmap of each query, -1 where every row passes.
    excluded_offset, excluded: CSR, the rows left out of the answer to query q are
    excluded[excluded_offset[q] : excluded_offset[q + 1]], ascending, none twice.
    num_passing: int64 (B,), the rows of each bitmap where they are known already; counted where None.
    """

    bitmap: UInt8[np.ndarray, "B W"]
    line: Int64[np.ndarray, " Q"]
    excluded_offset: Int64[np.ndarray, " Q1"]
    excluded: Int64[np.ndarray, " X"]
    num_passing: Int64[np.ndarray, " B"] | None = None

    def __post_init__(self) -> None:
        num_queries = len(self.line)
        if len(self.excluded_offset) != num_queries + 1 or self.excluded_offset[-1] != len(self.excluded):
            raise QueryError(
                f"allowed: {len(self.excluded_offset)} offsets to {len(self.excluded)} excluded rows; "
                f"expected {num_queries + 1}, the last of them {len(self.excluded)}"
            )
        # Of one query, the most common request, two reductions would take longer than all else here.
        low, high = (self.line[0],) * 2 if num_queries == 1 else _ends(self.line)
        if not -1 <= low <= high < len(self.bitmap):
            raise QueryError(
                f"allowed: bitmaps {low} to {high} are asked for; expected -1 to {len(self.bitmap) - 1}"
            )

    def __len__(self) -> int:
        return len(self.line)

    @classmethod
    def but(cls, excluded_offset: Int64[np.ndarray, " Q1"], excluded: Int64[np.ndarray, " X"]) -> "Allowed":
        """Every row but these, by query."""
        return cls(_NO_BITMAPS, np.full(len(excluded_offset) - 1, NO_BITMAP), excluded_offset, excluded)

    def passing(self) -> Int64[np.ndarray, " B"]:
        """Rows that each bitmap lets pass."""
        if self.num_passing is not None:
            return self.num_passing
        if len(self.bitmap) == 0:
            return _NONE
        count: np.ndarray = np.bitwise_count(self.words()).sum(axis=1, dtype=np.int64)
        return count

    def words(self) -> UInt64[np.ndarray, "B V"]:
        """The bitmaps as words of 64 bits; bit i of word j is row 64 j + i.

        Copied only where W is no multiple of 8.
        """
        odd = -self.bitmap.shape[1] % 8
        whole = np.pad(self.bitmap, [(0, 0), (0, odd)]) if odd else np.ascontiguousarray(self.bitmap)
        words: np.ndarray = whole.view(np.uint64)
        return words

    def check(self, num_queries: int, num_rows: int) -> None:
        """Raises QueryError unless this says what so many queries may see of so many rows."""
        if len(self) != num_queries:
            raise QueryError(f"allowed: of {len(self)} queries for {num_queries} queries; expected as many")
        if len(self.bitmap) and self.bitmap.shape[1] * 8 < num_rows:
            raise QueryError(
                f"allowed: bitmaps of {self.bitmap.shape[1]} bytes for {num_rows} rows; "
                "expected a bit for each"
            )

    def select(self, lines: Int64[np.ndarray, " n"]) -> "Allowed":
        """What these of the queries are allowed, in that order."""
        length = np.diff(self.excluded_offset)[lines]
        kept = self.excluded[runs(self.excluded_offset[lines], length)]
        offset = np.concatenate([[0], np.cumsum(length)])
        return Allowed(self.bitmap, self.line[lines], offset, kept, self.num_passing)

    def among(
        self,
        bitmap: UInt8[np.ndarray, "B W"],
        line: Int64[np.ndarray, " Q"],
        num_passing: Int64[np.ndarray, " B"] | None = None,
    ) -> "Allowed":
        """The same, of rows that pass these bitmaps only."""
        return Allowed(bitmap, line, self.excluded_offset, self.excluded, num_passing)

    def mask(self, line: int, num_rows: int) -> Bool[np.ndarray, " N"]:
        """Which rows one query is allowed."""
        allowed = np.ones(num_rows, bool)
        if self.line[line] != NO_BITMAP:
            bits = np.unpackbits(self.bitmap[self.line[line]], count=num_rows, bitorder="little")
            allowed = bits.astype(bool)
        allowed[self.excluded[self.excluded_offset[line] : self.excluded_offset[line + 1]]] = False
        return allowed

    def repeat(self, times: int) -> "Allowed":
        """The same for each of several vectors of every query, those of one after another."""
        return self if times == 1 else self.select(np.repeat(np.arange(len(self)), times))

    def excludes(self, row: Int64[np.ndarray, "Q K"]) -> Bool[np.ndarray, "Q K"]:
        """Which rows of an answer are among those that its query leaves out; bitmaps aside."""
        if len(self.excluded) == 0:
            return np.zeros(row.shape, bool)
        span = int(max(row.max(initial=0), self.excluded.max())) + 2
        line = np.repeat(np.arange(len(self)), np.diff(self.excluded_offset))
        left_out, asked = line * span + self.excluded, np.arange(len(self))[:, None] * span + row
        place = np.minimum(np.searchsorted(left_out, asked), len(left_out) - 1)
        found: np.ndarray = (left_out[place] == asked) & (row >= 0)
        return found


def _ends(line: np.ndarray) -> tuple[int, int]:
    """The lowest and the highest bitmap asked for; none where nobody asks."""
    return (int(line.min()), int(line.max())) if len(line) else (NO_BITMAP, NO_BITMAP)


_NONE = np.zeros(0, np.int64)
_NO_BITMAPS = np.zeros((0, 0), np.uint8)


@lru_cache(maxsize=8)
def everything(num_queries: int) -> Allowed:
    """Every row, for each of so many queries."""
    return Allowed.but(np.zeros(num_queries + 1, np.int64), _NONE)
