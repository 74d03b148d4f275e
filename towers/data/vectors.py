"""Columns of vectors that another model made, such as embeddings of texts, standardised for the towers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32

from towers.data.columns import source_column
from towers.errors import SchemaError


@dataclass(frozen=True, slots=True)
class VectorScale:
    """Mean and standard deviation of each entry, over the training rows that have a vector."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return len(self.mean)

    @staticmethod
    def fitted(table: pa.Table, column: str) -> "VectorScale":
        """Fitted on the rows of a table, which are those that training may see.

        The first vector gives the width. Raises SchemaError where there is none, or as `read_vectors`.
        """
        lengths = pc.list_value_length(source_column(table, column)).drop_null()
        lengths = lengths.filter(pc.greater(lengths, 0))
        if len(lengths) == 0:
            raise SchemaError(f"{column}: no row to learn from has a vector; expected one at least")
        values, known = read_vectors(table, column, lengths[0].as_py())
        mean = values[known].mean(0, dtype=np.float64)
        deviation = values[known].std(0, dtype=np.float64)
        return VectorScale(tuple(mean.tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist()))

    @staticmethod
    def from_json(read: Mapping[str, Any], key: str) -> "VectorScale":
        """What `asdict` made plain; SchemaError where the two differ in length."""
        mean, deviation = (tuple(map(float, read[name])) for name in ("mean", "deviation"))
        if len(mean) != len(deviation) or not mean:
            raise SchemaError(
                f"{key}: {len(mean)} means and {len(deviation)} deviations; expected as many of both"
            )
        return VectorScale(mean, deviation)

    def standardised(self, table: pa.Table, column: str) -> Float32[np.ndarray, "N E1"]:
        """The standardised vectors of a table, zeros where unknown; last a flag, 1 where known."""
        values, known = read_vectors(table, column, self.width)
        values -= np.asarray(self.mean, np.float32)
        values /= np.asarray(self.deviation, np.float32)
        return np.concatenate([np.where(known[:, None], values, np.float32(0.0)), known[:, None]], axis=1)


def read_vectors(
    table: pa.Table, column: str, width: int
) -> tuple[Float32[np.ndarray, "N E"], Bool[np.ndarray, " N"]]:
    """The vectors of a column, zeros where it is null or empty, and where it is not.

    Raises SchemaError naming the id of the first row whose vector has another length, or an entry that is no
    finite number.
    """
    lists = source_column(table, column)
    length = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    known: np.ndarray = length > 0
    _refuse(
        np.logical_and(known, length != width), table, column, lambda row: f"has {length[row]} numbers", width
    )
    values = np.zeros((len(lists), width), np.float32)
    flat = lists.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
    values[known] = flat.reshape(-1, width)
    bad = ~np.isfinite(values)
    _refuse(
        np.logical_or.reduce(bad, axis=1),
        table,
        column,
        lambda row: f"holds {values[row][bad[row]][0]}",
        width,
    )
    return values, known


def _refuse(
    bad: Bool[np.ndarray, " N"], table: pa.Table, column: str, said: Callable[[int], str], width: int
) -> None:
    if not bad.any():
        return
    row = int(bad.argmax())
    id_ = table[table.column_names[0]][row].as_py()
    raise SchemaError(
        f"{column}: that of {id_!r} {said(row)}, one of {int(bad.sum())} such rows; expected {width} finite "
        "numbers in every one, as the first to learn from has"
    )
