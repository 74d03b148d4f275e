"""Typed rows of delimited text files, plain or gzipped; of a fault, its file, line and expectation.

For the small tables that are joined to a catalogue: there the first bad row ends the job. What is ingested is
scanned by `lines.scan_text` instead, which gives bad rows their fault.
"""

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

import polars as pl

from towers.errors import ParseError, SchemaError

BLANKS = " \t\r\n"  # str.strip() would also take the no-break space, which is half of a broken "à"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")  # 18 digits always fit in int64
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SHOWN_CHARACTERS = 60


class Kind(StrEnum):
    """What the values of a column are."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"


_DTYPES = {Kind.INTEGER: pl.Int64(), Kind.NUMBER: pl.Float64(), Kind.TEXT: pl.String()}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its kind, and what a value may be.

    low, high: the inclusive range of a number. nullable: an empty field is null. optional: a header may lack
    the column, which then is null.
    """

    name: str
    kind: Kind = Kind.TEXT
    low: int | float = -math.inf
    high: int | float = math.inf
    nullable: bool = False
    optional: bool = False

    @property
    def expectation(self) -> str:
        """What a value must be, in words."""
        if self.kind is Kind.TEXT:
            return "some text"
        noun = "an integer" if self.kind is Kind.INTEGER else "a number"
        if math.isfinite(self.high):
            return f"{noun} from {self.low:g} to {self.high:.12g}"
        return f"{noun} >= {self.low:g}" if math.isfinite(self.low) else noun

    def value(self, text: str) -> int | float | str | None:
        """The typed value of one field; ValueError where it is not what the column expects."""
        text = text.strip(BLANKS)
        if not text:
            if self.nullable or self.optional:
                return None
            raise ValueError("empty")
        if self.kind is Kind.TEXT:
            return text
        pattern, convert = (_INTEGER, int) if self.kind is Kind.INTEGER else (_NUMBER, float)
        number = convert(text) if pattern.fullmatch(text) else math.nan
        if not (self.low <= number <= self.high and math.isfinite(number)):
            raise ValueError(text)
        return number

    def takes(self, text: str) -> bool:
        """Whether `value` accepts one field."""
        try:
            self.value(text)
        except ValueError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a file are written.

    With a header, columns are found by name, in any order, and further ones are left out; without one,
    `columns` are all columns in order. A "," file may quote its fields as CSV does; the others never do.
    """

    columns: tuple[Column, ...]
    separator: str = ","
    has_header: bool = True
    encoding: str = "utf-8"

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]


def read_rows(path: Path, layout: Layout) -> pl.DataFrame:
    """One row per record, columns as in the layout: Int64, Float64 or String; blank lines hold no record.

    Raises ParseError with file, line (from 1, the header counted), the text found and what was expected;
    SchemaError where the file has no rows.
    """
    records = _records(path, layout)
    places, num_fields = _places(path, layout, records)
    values: list[list[Any]] = [[] for _ in layout.columns]
    plan = [
        (column.value, out.append, place)
        for column, out, place in zip(layout.columns, values, places, strict=True)
        if place is not None
    ]
    num_rows = 0
    for line, fields in records:
        if len(fields) != num_fields:
            raise ParseError(
                f"{path}:{line}: {_shown(layout.separator.join(fields))} has {len(fields)} fields; expected "
                f"{num_fields}, with {layout.separator.join(layout.names)}"
            )
        try:
            for value_of, append, place in plan:
                append(value_of(fields[place]))
        except ValueError:
            raise _field_error(path, line, layout, places, fields) from None
        num_rows += 1
    if num_rows == 0:
        raise SchemaError(f"{path}: no rows; expected at least one")
    return pl.DataFrame(
        [
            pl.Series(column.name, [None] * num_rows if place is None else out, dtype=_DTYPES[column.kind])
            for column, out, place in zip(layout.columns, values, places, strict=True)
        ]
    )


def _records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each record; a quoted field may span lines, and the first of them counts."""
    if layout.separator != ",":
        for number, line in enumerate(_lines(path, layout.encoding), 1):
            if line.strip(BLANKS):
                yield number, line.rstrip("\r\n").split(layout.separator)
        return
    reader = csv.reader(_lines(path, layout.encoding), strict=True)
    first = 1
    try:
        for fields in reader:
            if fields:
                yield first, fields
            first = reader.line_num + 1
    except csv.Error as error:
        raise ParseError(f"{path}:{first}: {error}; expected comma-separated, well-quoted fields") from error


def _lines(path: Path, encoding: str) -> Iterator[str]:
    number, line = 0, b""
    try:
        with cast("BinaryIO", gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                text = line.decode(encoding)
                yield text.removeprefix("\ufeff") if number == 1 else text
    except UnicodeDecodeError as error:
        raise ParseError(
            f"{path}:{number}: {_shown(line.decode('latin-1'))} cannot be decoded; expected {encoding} text"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ParseError(
            f"{path}:{number + 1}: the gzip file is cut short or damaged ({error}); expected a whole file; "
            "fetch it again"
        ) from error


def _places(
    path: Path, layout: Layout, records: Iterator[tuple[int, list[str]]]
) -> tuple[list[int | None], int]:
    """Each column's place in a record, None where an optional one is missing; and the length of a record."""
    if not layout.has_header:
        return list(range(len(layout.columns))), len(layout.columns)
    expected = ",".join(column.name for column in layout.columns if not column.optional)
    line, header = next(records, (1, []))
    if not header:
        raise ParseError(f"{path}:1: the file is empty; expected a header with {expected}")
    names = [name.strip(BLANKS) for name in header]
    for column in layout.columns:
        if names.count(column.name) != 1 and not (column.optional and column.name not in names):
            raise ParseError(
                f"{path}:{line}: the header {_shown(','.join(header))} has {names.count(column.name)} "
                f"columns {column.name!r}; expected {expected}, each once"
            )
    return [names.index(name) if name in names else None for name in layout.names], len(names)


def _field_error(
    path: Path, line: int, layout: Layout, places: Sequence[int | None], fields: Sequence[str]
) -> ParseError:
    """The error of the first field that its column refuses."""
    column, text = next(
        (column, fields[place])
        for column, place in zip(layout.columns, places, strict=True)
        if place is not None and not column.takes(fields[place])
    )
    return ParseError(f"{path}:{line}: {column.name} is {_shown(text)}; expected {column.expectation}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
