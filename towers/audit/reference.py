"""The population that a service means to serve, as it is declared: shares of segments, by dimension."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from towers.audit.segments import Dimension
from towers.errors import MissingDataError, SchemaError

_COLUMNS = ("dimension", "segment", "share")
_ROUNDING = 0.005


@dataclass(frozen=True, slots=True)
class Reference:
    """shares: of all profiles that the service means to serve, by segment; 1 together in a dimension."""

    shares: Mapping[Dimension, Mapping[str, float]]


def read_reference(path: Path) -> Reference:
    """The population of a CSV file with the columns dimension, segment and share.

    Raises MissingDataError where there is no file, SchemaError where a dimension is none of `Dimension`, a
    segment stands twice, or the shares of a dimension are negative or do not add up to 1.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; expected a CSV with the columns {', '.join(_COLUMNS)}")
    try:
        types = {"dimension": pl.String, "segment": pl.String, "share": pl.Float64}
        table = pl.read_csv(path, schema_overrides=types).select(_COLUMNS)
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0]
        raise SchemaError(f"{path}: {said}; expected the columns {', '.join(_COLUMNS)}") from error
    shares: dict[str, dict[str, float]] = {}
    for dimension, segment, share in table.iter_rows():
        of_dimension = shares.setdefault(dimension, {})
        if segment is None or segment in of_dimension:
            raise SchemaError(f"{path}: {dimension}={segment}; expected every segment once, by name")
        of_dimension[segment] = math.nan if share is None else share
    return reference(shares, str(path))


def reference(shares: Mapping[str, Mapping[str, float]], where: str = "reference") -> Reference:
    """The same of shares in memory; raises SchemaError as `read_reference` does."""
    for dimension, of_segment in shares.items():
        if dimension not in list(Dimension):
            raise SchemaError(f"{where}: dimension {dimension!r}; expected one of {', '.join(Dimension)}")
        values = list(of_segment.values())
        if not all(value >= 0.0 for value in values) or abs(sum(values) - 1.0) > _ROUNDING:
            raise SchemaError(
                f"{where}: shares of {dimension} add up to {sum(values):g}, the lowest is "
                f"{min(values):g}; expected shares of 0 or more that add up to 1"
            )
    # What is rounded in a file is taken to the whole.
    return Reference(
        {
            Dimension(dimension): {
                segment: share / sum(of_segment.values()) for segment, share in of_segment.items()
            }
            for dimension, of_segment in shares.items()
        }
    )
