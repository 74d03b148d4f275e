"""Value counts of columns too long for memory, and what follows from them without rounding errors of sums."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from towers.data.card.figures import Histogram


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """Different values in rising order, and in how many rows each stands; null is no value."""

    value: np.ndarray
    count: np.ndarray

    def __len__(self) -> int:
        return len(self.value)

    @property
    def num_rows(self) -> int:
        """Rows that have a value."""
        return int(self.count.sum())

    @property
    def mean(self) -> float:
        """The mean over rows."""
        return float(np.dot(self.value, self.count) / self.num_rows)

    @property
    def median(self) -> float:
        """The lower median over rows: a value that is there."""
        return float(self.value[np.searchsorted(np.cumsum(self.count), (self.num_rows + 1) // 2)])

    def histogram(self, edges: np.ndarray) -> Histogram | None:
        """The counts in bins that begin at `edges`, the last one open; None where there are no values."""
        if not len(self):
            return None
        place = np.clip(np.searchsorted(edges, self.value, side="right") - 1, 0, None)
        counts = np.bincount(place, self.count, minlength=len(edges)).astype(np.int64)
        return Histogram(
            tuple(edges.astype(np.float64).tolist()),
            tuple(counts.tolist()),
            round(self.mean, 4),
            round(self.median, 4),
        )


def streamed(frame: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a frame, made batch by batch: only they need to fit into memory."""
    return frame.collect(engine="streaming")


def count_values(frame: pl.LazyFrame, value: pl.Expr) -> ValueCounts:
    """How often each value of an expression stands in a frame that is read in a stream."""
    values = frame.select(value=value).filter(pl.col("value").is_not_null())
    counted = streamed(values.group_by("value").agg(count=pl.len())).sort("value")
    return ValueCounts(counted["value"].to_numpy(), counted["count"].to_numpy().astype(np.int64))


def rounded(number: pl.Expr, decimals: int) -> pl.Expr:
    """A number with so few decimals that there are few different values."""
    return number.cast(pl.Float64).round(decimals)
