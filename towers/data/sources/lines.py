"""Delimited text files of any size → a lazy frame of texts that loses nothing: line, fields, fault, raw text.

A plain line is split by Polars, in parallel; a line with a quote goes through Python's csv rules; a file that
is not UTF-8 throughout is decoded line by line.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from towers.data.raw import FAULT, ROW, TEXT
from towers.data.sources import careful
from towers.data.sources.careful import BLANKS, Survey, survey
from towers.data.sources.streamed import lazy_frame
from towers.errors import ConfigError, ParseError

_LINES: dict[str, Any] = {ROW: pl.get_index_type(), TEXT: pl.String(), FAULT: pl.String()}
_QUOTING = "quoting"
_NO_TEXT = pl.lit(None, pl.String)
_BATCH_ROWS = 50_000
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How the records of a text file are written, one a line.

    has_header: the first line that is not blank names the columns. quoted: CSV's quotes count; a separator is
    then one character. multi_line: a quoted field may span lines, which takes Python instead of Polars.
    encoding: one in which a line break is one byte; a UTF-8 mark at the beginning is left out.
    """

    separator: str = ","
    has_header: bool = True
    encoding: str = "utf-8"
    quoted: bool = True
    multi_line: bool = False

    def __post_init__(self) -> None:
        try:
            one_byte = "\n".encode(self.encoding) == b"\n"
        except LookupError:
            one_byte = False
        if not one_byte:
            raise ConfigError(
                f"text.encoding: found {self.encoding!r}; expected utf-8, latin-1, cp1252 or the like"
            )
        if (
            not self.separator
            or set(self.separator) & set('"\r\n')
            or (self.quoted and len(self.separator) > 1)
        ):
            raise ConfigError(
                f"text.separator: found {self.separator!r}; expected one character that is no quote nor line "
                "break, or any such text where nothing is quoted"
            )


CSV = TextFormat()
"""Comma-separated with a header, in UTF-8."""


def scan_lines(path: Path, encoding: str = "utf-8") -> pl.LazyFrame:
    """Every line of a file, plain or gzipped: ROW (from 1), TEXT and FAULT, null or "not utf-8".

    A line ends at a line feed; a carriage return before it belongs to the end. A line that is not in its
    encoding is read as Windows-1252. Raises MissingDataError where there is no file, ParseError on a gzip
    file that is not whole.
    """
    found = survey(path)
    lines = _scan_lines(path, encoding, found)
    return lines if FAULT in lines.collect_schema() else lines.with_columns(_NO_TEXT.alias(FAULT))


def scan_text(
    path: Path, columns: Sequence[str] | None, form: TextFormat = CSV, optional: Sequence[str] = ()
) -> pl.LazyFrame:
    """One row per record: ROW, the columns as text, FAULT (null where all is well) and TEXT.

    With a header, columns are found by name, in any order, and None takes all; what only `optional` names may
    be missing, and is null then. Without one, `columns` are all columns in order. A field stands as it is
    written, without its quotes; an empty one is null. Blank lines hold no record. FAULT begins with "not"
    where a line is not in its encoding, and its fields then are those of Windows-1252; with any other fault,
    the record could not be taken apart, and its fields mean nothing.

    Raises MissingDataError where there is no file; ParseError on a gzip file that is not whole and on a
    header that lacks a column or has one twice. A bad record is a row with its FAULT, never an error.
    """
    found = survey(path)
    header_line, header = _header(path, form) if form.has_header else (0, list(columns or ()))
    wanted = header if columns is None else [*columns, *(name for name in optional if name in header)]
    _check_header(path, header_line, header, wanted)
    if form.multi_line and found.has_quotes:
        batches = partial(_record_batches, path, form, len(header), header_line)
        split = lazy_frame(_schema(len(header)), batches)
    else:
        lines = _scan_lines(path, form.encoding, found).slice(header_line)
        split = _split(lines, form, len(header), found.has_quotes)
    absent = [name for name in optional if name not in header and name not in wanted]
    return split.select(
        ROW,
        *(_null_for_empty(header.index(name)).alias(name) for name in wanted),
        *(_NO_TEXT.alias(name) for name in absent),
        FAULT,
        TEXT,
    )


def header_of(path: Path, form: TextFormat = CSV) -> list[str]:
    """The names in the header of a file; ParseError where it has none."""
    survey(path)
    return _header(path, form)[1]


def _scan_lines(path: Path, encoding: str, found: Survey) -> pl.LazyFrame:
    """ROW and TEXT, and FAULT where the file may have lines that are not in its encoding."""
    codec = codecs.lookup(encoding).name
    direct = found.is_utf8 if codec == "utf-8" else found.is_ascii and codec.startswith(("iso8859", "cp125"))
    if not direct or found.looks_deflated:
        return lazy_frame(_LINES, partial(_line_batches, path, encoding))
    lines = pl.scan_lines(path, name=TEXT, row_index_name=ROW, row_index_offset=1, glob=False)
    if not found.has_bom:
        return lines
    bare = pl.col(TEXT).str.strip_prefix("\ufeff")
    return lines.with_columns(pl.when(pl.col(ROW) == 1).then(bare).otherwise(TEXT).alias(TEXT))


def _line_batches(path: Path, encoding: str) -> Iterator[pl.DataFrame]:
    found = careful.lines(path, encoding)
    while batch := list(islice(found, _BATCH_ROWS)):
        yield pl.DataFrame(batch, schema=_LINES, orient="row")


def _record_batches(
    path: Path, form: TextFormat, num_fields: int, header_line: int
) -> Iterator[pl.DataFrame]:
    lines = (line for line in careful.lines(path, form.encoding) if line.number > header_line)
    found = careful.records(lines, form.separator)
    while batch := list(islice(found, _BATCH_ROWS)):
        lines_of, fields_of = zip(*batch, strict=True)
        parsed = _as_columns(fields_of, num_fields)
        frame = pl.DataFrame(lines_of, schema=_LINES, orient="row")
        yield frame.with_columns(
            pl.coalesce(parsed[_QUOTING], FAULT).alias(FAULT), *parsed.drop(_QUOTING)
        ).select(list(_schema(num_fields)))


def _schema(num_fields: int) -> dict[str, Any]:
    return {**_LINES, **dict.fromkeys(_places(num_fields), pl.String())}


def _places(num_fields: int) -> list[str]:
    """The columns of the fields of a record, as `split_exact` names them."""
    return [f"field_{place}" for place in range(num_fields)]


def _split(lines: pl.LazyFrame, form: TextFormat, num_fields: int, has_quotes: bool) -> pl.LazyFrame:
    """The fields of each line that is not blank, and a FAULT where there are not num_fields of them."""
    faults = [pl.col(FAULT)] if FAULT in lines.collect_schema() else []
    places, beyond = _places(num_fields), f"field_{num_fields}"
    if form.quoted and has_quotes:
        faults = [pl.col(_QUOTING), *faults]
        fields = pl.col(TEXT).map_batches(
            partial(_split_quoted, separator=form.separator, num_fields=num_fields),
            return_dtype=pl.Struct(dict.fromkeys([*places, beyond, _QUOTING], pl.String())),
            is_elementwise=True,
        )
    else:
        fields = pl.col(TEXT).str.split_exact(form.separator, num_fields)
    amiss = pl.col(places[-1]).is_null() | pl.col(beyond).is_not_null()
    # Only where something is amiss is a line looked at once more: the rest is null, and costs nothing.
    text = pl.when(amiss | (num_fields == 1)).then(TEXT)
    # A separator is no blank: a line of two tabs is a record of three empty fields.
    is_blank = (text.str.strip_chars(BLANKS.replace(form.separator, "")) == "").fill_null(False)
    num_found = text.str.count_matches(form.separator, literal=True) + 1
    miscounted = pl.when(amiss).then(pl.format(f"{{}} fields; expected {num_fields}", num_found))
    return (
        lines.with_columns(fields.alias("fields"))
        .unnest("fields")
        .filter(~is_blank)
        .with_columns(pl.coalesce(miscounted, *faults).alias(FAULT))
    )


def _split_quoted(lines: pl.Series, separator: str, num_fields: int) -> pl.Series:
    """What `split_exact` gives; a line with quotes by the csv rules, its fault in _QUOTING."""
    split = lines.str.split_exact(separator, num_fields).struct.unnest()
    # Quotes around whole fields alone, and none within one, leave the csv rules one reading, found faster.
    field = f'(?:"([^"]*)"|([^"{re.escape(separator)}\\r]*))'
    groups = lines.str.extract_groups(f"^{re.escape(separator).join([field] * num_fields)}$").struct.unnest()
    quoted, bare = groups.get_columns()[::2], groups.get_columns()[1::2]
    is_plain = quoted[0].is_not_null() | bare[0].is_not_null()
    places, beyond = _places(num_fields), f"field_{num_fields}"
    split = split.with_columns(
        *(pl.coalesce(*either).alias(either[-1]) for either in zip(quoted, bare, places, strict=True)),
        pl.when(~is_plain).then(beyond).alias(beyond),
        _NO_TEXT.alias(_QUOTING),
    )
    rest = (~is_plain & lines.str.contains('"', literal=True)).arg_true()
    if len(rest):
        parsed = _as_columns(careful.fields_of_each(lines.gather(rest).to_list(), separator), num_fields)
        parsed = parsed.with_columns(_NO_TEXT.alias(beyond)).select(split.columns)
        place = pl.arange(split.height, eager=True)
        place = place.scatter(rest, split.height + pl.arange(len(rest), eager=True))
        split = pl.concat([split, parsed])[place]
    return split.to_struct(lines.name)


def _as_columns(records: Sequence[list[str] | str], num_fields: int) -> pl.DataFrame:
    """The fields of each record, all empty (a null would read as too few) where it is at fault; _QUOTING."""
    faults = [
        fields
        if isinstance(fields, str)
        else None
        if len(fields) == num_fields
        else f"{len(fields)} fields; expected {num_fields}"
        for fields in records
    ]
    empty = [""] * num_fields
    whole = (fields if fault is None else empty for fields, fault in zip(records, faults, strict=True))
    columns = zip(_places(num_fields), zip(*whole, strict=True), strict=True)
    return pl.DataFrame(
        [
            *(pl.Series(name, texts, pl.String) for name, texts in columns),
            pl.Series(_QUOTING, faults, pl.String),
        ]
    )


def _null_for_empty(place: int) -> pl.Expr:
    field = pl.col(f"field_{place}")
    return pl.when(field.str.len_bytes() > 0).then(field)  # a seventh of the time of `replace("", None)`


def _header(path: Path, form: TextFormat) -> tuple[int, list[str]]:
    """Line and names of the header."""
    for line in careful.lines(path, form.encoding):
        if line.fault is None and not line.text.strip(BLANKS):
            continue
        fields = (
            careful.fields_of(line.text, form.separator) if form.quoted else line.text.split(form.separator)
        )
        if line.fault is not None or isinstance(fields, str):
            raise ParseError(
                f"{path}:{line.number}: the header {_shown(line.text)} cannot be read: "
                f"{line.fault or fields}; expected names between {form.separator!r}"
            )
        return line.number, [name.strip(BLANKS) for name in fields]
    raise ParseError(f"{path}:1: the file is empty; expected a header")


def _check_header(path: Path, line: int, header: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if header.count(name) != 1:
            raise ParseError(
                f"{path}:{line}: the header {_shown(','.join(header))} has {header.count(name)} columns "
                f"{name!r}; expected {', '.join(wanted)}, each once"
            )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
