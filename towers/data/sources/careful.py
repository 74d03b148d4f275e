"""Text files byte by byte: what a file is made of, its lines in any encoding, its CSV records over lines."""

import codecs
import csv
import gzip
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from towers.errors import MissingDataError, ParseError

BLANKS = " \t"
UNBALANCED = "unbalanced quote"
MAX_RECORD_LINES = 1000
"""A quote that is not closed within as many lines is not closed at all."""

_GZIP = b"\x1f\x8b"
_BOM = codecs.BOM_UTF8
_ZLIB = (b"x\x01", b"x^", b"x\x9c", b"x\xda")
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file is made of, once it is unzipped.

    is_ascii, is_utf8: as a whole. has_bom: it begins with UTF-8's mark. has_quotes: a " is somewhere.
    looks_deflated: it is text, and its first two bytes are those that zlib begins with ("x^", "x" and a
    control character): Polars would try to unzip it.
    """

    is_ascii: bool
    is_utf8: bool
    has_bom: bool
    has_quotes: bool
    looks_deflated: bool


class Line(NamedTuple):
    """One line without its end: number from 1, text, and "not utf-8" where that is not how it is written."""

    number: int
    text: str
    fault: str | None


def survey(path: Path) -> Survey:
    """Reads a file once, plain or gzipped, in bounded memory.

    Raises MissingDataError where it is not there, ParseError on a gzip file that is not whole.
    """
    is_ascii = is_utf8 = True
    has_bom = has_quotes = False
    first = True
    decoder = codecs.getincrementaldecoder("utf-8")()
    for chunk in _chunks(path):
        if first:
            has_bom, first = chunk.startswith(_BOM), False
        has_quotes = has_quotes or b'"' in chunk
        if not is_utf8 or (is_ascii and chunk.isascii()):
            continue
        is_ascii = False
        is_utf8 = _decodes(decoder, chunk)
    if is_utf8 and not is_ascii:
        is_utf8 = _decodes(decoder, b"", final=True)
    return Survey(is_ascii, is_utf8, has_bom, has_quotes, _begins_with(path, *_ZLIB))


def lines(path: Path, encoding: str) -> Iterator[Line]:
    """Every line of a file, plain or gzipped; one that is not in its encoding is read as Windows-1252."""
    with cast("BinaryIO", gzip.open(path)) if _begins_with(path, _GZIP) else path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            raw = raw.removesuffix(b"\n").removesuffix(b"\r")
            if number == 1:
                raw = raw.removeprefix(_BOM)
            try:
                yield Line(number, raw.decode(encoding), None)
            except UnicodeDecodeError:
                yield Line(number, _as_cp1252(raw), f"not {encoding}")


def fields_of(record: str, separator: str) -> list[str] | str:
    """The fields of one CSV record, or why it cannot be taken apart."""
    try:
        return next(csv.reader([record], delimiter=separator, strict=True))
    except csv.Error as error:
        return _reason(error)


def fields_of_each(each: Sequence[str], separator: str) -> list[list[str] | str]:
    """The fields of CSV records of one line each, or why one cannot be taken apart."""
    try:
        found = list(csv.reader(each, delimiter=separator, strict=True))
        if len(found) == len(each):  # no record has taken the line of the next
            return list(found)
    except csv.Error:
        pass
    return [fields_of(record, separator) for record in each]


def records(found: Iterable[Line], separator: str) -> Iterator[tuple[Line, list[str] | str]]:
    """Each CSV record, a quoted field over lines included, as one line with the number of its first; and
    its fields, or why it cannot be taken apart.

    Of a record that cannot be taken apart only the first line is given: the next one may begin a record.
    """
    ahead: deque[Line] = deque()
    rest = iter(found)

    def following() -> Line | None:
        return ahead.popleft() if ahead else next(rest, None)

    while (line := following()) is not None:
        if not line.text.strip(BLANKS):
            continue
        taken = [line]
        fields = fields_of(line.text, separator) if '"' in line.text else line.text.split(separator)
        while fields == UNBALANCED and len(taken) < MAX_RECORD_LINES and (further := following()):
            taken.append(further)
            if '"' in further.text:
                fields = fields_of("\n".join(each.text for each in taken), separator)
        if isinstance(fields, str):
            ahead.extendleft(reversed(taken[1:]))
            yield line, fields
        else:
            fault = next((each.fault for each in taken if each.fault), None)
            yield Line(line.number, "\n".join(each.text for each in taken), fault), fields


def _reason(error: csv.Error) -> str:
    match str(error):
        case "unexpected end of data":
            return UNBALANCED
        case text if text.endswith("expected after '\"'"):
            return "text after a closing quote"
        case text:
            return f"no CSV record ({text})"


def _as_cp1252(raw: bytes) -> str:
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _begins_with(path: Path, *magic: bytes) -> bool:
    # Polars goes by the first bytes, not by the name; so must we, to read the same.
    with path.open("rb") as stream:
        return stream.read(2) in magic


def _chunks(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file")
    zipped = _begins_with(path, _GZIP)
    with path.open("rb") as stream:
        raw = iter(lambda: stream.read(_CHUNK_BYTES), b"")
        try:
            yield from _unzipped(raw) if zipped else raw
        except (EOFError, zlib.error) as error:
            raise ParseError(
                f"{path}: the gzip file is cut short or damaged ({error}); expected a whole file; "
                "fetch it again"
            ) from error


def _unzipped(raw: Iterator[bytes]) -> Iterator[bytes]:
    """The content of gzip members, one after the other; EOFError or zlib.error where one is not whole."""
    member = None
    for chunk in raw:
        while chunk:
            member = member or zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            content = member.decompress(chunk)
            chunk = member.unused_data
            if member.eof:
                member = None
            if content:
                yield content
    if member is not None:
        raise EOFError("unexpected end of file")
