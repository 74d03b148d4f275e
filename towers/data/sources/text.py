"""Typed rows of delimited text files, plain or gzipped; of a fault, its file, line and expectation.

Two readers give the same frame. `read_rows` goes line by line and knows the line of every fault;
`read_numbers` parses all-numeric files at the speed of Polars, and leaves whatever is unusual to `read_rows`.
"""

import csv
import gzip
import math
import re
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
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

    low, high: the inclusive range of a number. choices: the only texts allowed; () allows any.
    nullable: an empty field is null. optional: a header may lack the column, which then is null.
    """

    name: str
    kind: Kind = Kind.TEXT
    low: int | float = -math.inf
    high: int | float = math.inf
    choices: tuple[str, ...] = ()
    nullable: bool = False
    optional: bool = False

    @property
    def expectation(self) -> str:
        """What a value must be, in words."""
        if self.kind is Kind.TEXT:
            return f"one of {', '.join(self.choices)}" if self.choices else "some text"
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
            if self.choices and text not in self.choices:
                raise ValueError(text)
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


def find_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, or else its gzipped form `name`.gz; None where neither is there."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def read_rows(path: Path, layout: Layout) -> pl.DataFrame:
    """One row per record, columns as in the layout: Int64, Float64 or String; blank lines hold no record.

    Raises ParseError with file, line (from 1, the header counted), the text found and what was expected;
    SchemaError where the file has no rows.
    """
    records = _records(path, layout)
    places, num_fields = _places(path, layout, records)
    values = [_growing(column) for column in layout.columns]
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
            pl.Series(
                column.name, [None] * num_rows if place is None else _plain(out), dtype=_DTYPES[column.kind]
            )
            for column, out, place in zip(layout.columns, values, places, strict=True)
        ]
    )


def read_numbers(path: Path, layout: Layout) -> pl.DataFrame:
    """What `read_rows` gives, at the speed of Polars, for a file whose columns are all plain numbers.

    Whatever the fast parser refuses, and whatever breaks the layout, is read again line by line: that pass
    either names the line at fault or makes sense of an oddity (a blank line, a padded field).
    """
    frame = _scan(path, layout)
    return read_rows(path, layout) if frame is None else frame


def _scan(path: Path, layout: Layout) -> pl.DataFrame | None:
    """The frame of the fast parser, or None where anything at all is not as the layout says."""
    if layout.has_header:
        _, header = next(_records(path, layout), (1, []))
        names, gaps = [name.strip(BLANKS) for name in header], []
    else:
        # Polars splits at one byte: "1::2" is then 1, nothing, 2; the fields between must hold nothing.
        gaps = [f"gap {n}" for n in range((len(layout.separator) - 1) * (len(layout.columns) - 1))]
        names = _interleaved(layout.names, gaps)
    if len(set(names)) != len(names) or not set(layout.names) <= set(names):
        return None
    kinds = dict.fromkeys(names, Kind.TEXT) | {column.name: column.kind for column in layout.columns}
    try:
        frame = pl.read_csv(
            path if path.suffix != ".gz" else gzip.decompress(path.read_bytes()),
            schema={name: _DTYPES[kind] for name, kind in kinds.items()},
            has_header=layout.has_header,
            separator=layout.separator[0],
            quote_char='"' if layout.separator == "," else None,
        )
    except (pl.exceptions.PolarsError, EOFError, gzip.BadGzipFile, zlib.error):
        return None
    usual = [pl.col(c.name).is_not_null() & pl.col(c.name).is_between(c.low, c.high) for c in layout.columns]
    usual += [pl.col(name).is_null() for name in gaps]
    if frame.height == 0 or not frame.select(pl.all_horizontal(usual).all()).item():
        return None
    return frame.select(layout.names)


def _interleaved(names: Sequence[str], gaps: Sequence[str]) -> list[str]:
    """Names with an equal share of the gaps between any two of them."""
    share = len(gaps) // max(1, len(names) - 1)
    return [name for n, name in enumerate(names) for name in (name, *gaps[n * share : (n + 1) * share])]


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


def _growing(column: Column) -> "list[Any] | array[Any]":
    """An empty sequence for a column's values."""
    # Plain machine numbers where no null can be: this pass must also survive a file of many million rows.
    if column.nullable or column.optional or column.kind is Kind.TEXT:
        return []
    return array("q" if column.kind is Kind.INTEGER else "d")


def _plain(values: "list[Any] | array[Any]") -> list[Any] | np.ndarray:
    return np.array(values) if isinstance(values, array) else values


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
