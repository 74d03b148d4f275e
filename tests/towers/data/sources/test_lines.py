import csv
import gzip
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from towers.data.raw import FAULT, ROW, TEXT
from towers.data.sources import careful
from towers.data.sources.lines import CSV, TextFormat, header_of, scan_lines, scan_text
from towers.errors import ConfigError, MissingDataError, ParseError

Record = tuple[int, tuple[str | None, ...] | None, str | None, str]
"""Line, fields (None where they cannot be told), fault, text."""

NAMES = ("a", "b", "c")
FORMS = {
    "csv": CSV,
    "csv without quotes": TextFormat(quoted=False),
    "bare csv": TextFormat(has_header=False),
    "tabs": TextFormat("\t", has_header=False),
    "spaces": TextFormat(" ", has_header=False, quoted=False),
    "bars": TextFormat("|", has_header=False),
    "dat": TextFormat("::", has_header=False, quoted=False),
    "dashes": TextFormat("-", has_header=False),
}


def write(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def slowly(raw: bytes, form: TextFormat) -> list[Record]:
    """What a file says, one line after the other, by Python's own csv and codecs."""
    found: list[Record] = []
    lines = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines[: -1 if lines[-1] == b"" else None], 1):
        line = line[:-1] if line.endswith(b"\r") else line
        fault = None
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            fault = "not utf-8"
            undefined = set(line) & {0x81, 0x8D, 0x8F, 0x90, 0x9D}
            text = line.decode("latin-1" if undefined else "cp1252")
        if not text.strip("".join({" ", "\t"} - {form.separator})):
            continue
        if form.quoted and '"' in text:
            try:
                fields = next(csv.reader([text], delimiter=form.separator, strict=True))
            except csv.Error:
                found.append((number, None, "quoting", text))
                continue
        else:
            fields = text.split(form.separator)
        if len(fields) != len(NAMES):
            found.append((number, None, f"{len(fields)} fields; expected 3", text))
        else:
            found.append((number, tuple(field or None for field in fields), fault, text))
    return found[1:] if form.has_header else found


def scanned(path: Path, form: TextFormat) -> list[Record]:
    frame = scan_text(path, NAMES, form).collect(engine="streaming")
    assert frame.schema == {ROW: pl.UInt32, **dict.fromkeys([*NAMES, FAULT, TEXT], pl.String)}
    found: list[Record] = []
    for row in frame.iter_rows(named=True):
        fault = row[FAULT]
        known = fault is None or fault.startswith("not ")
        if fault in ("unbalanced quote", "text after a closing quote") or str(fault).startswith(
            "no CSV record"
        ):
            fault = "quoting"
        found.append((row[ROW], tuple(row[name] for name in NAMES) if known else None, fault, row[TEXT]))
    return found


pieces = st.sampled_from(
    [b"1", b"", b"a b", b" ", b"\t", b"|", b"::", b":", b",", b",,", b"-", b'"', b'""', b'"x"', b'"x,y"',
     b'"x""y"',
     b"\r", b"\x00", b"\xe9", b"\x81", b"\xef\xbf\xbd", "é".encode(), "…".encode(), "\u2028".encode(),
     b"\xef\xbb\xbf", b"x^", b"x\x01", b"\xff\xfe", b"\x1f\x8b", b"\x0b", b"'", b"\\"]
)  # fmt: skip
fields = st.lists(pieces, max_size=3).map(b"".join)
ends = st.sampled_from([b"\n", b"\r\n"])


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(st.sampled_from(sorted(FORMS)))
    separator = FORMS[name].separator.encode()
    # Mostly of the right length, or the interesting fields would never be reached.
    row = st.lists(fields, min_size=3, max_size=3) | st.lists(fields, max_size=5)
    lines = [separator.join(each) + draw(ends) for each in draw(st.lists(row, max_size=6))]
    raw = (b"a,b,c\n" if FORMS[name].has_header else b"") + b"".join(lines)
    return name, raw.removesuffix(b"\n") if draw(st.booleans()) else raw


@settings(max_examples=300)
@given(files(), st.booleans())
@example(("bare csv", b"x^,1,2\n"), False)
@example(("bare csv", b"x\x01,1,2\n"), False)
@example(("bare csv", b"x\xda\xa2,1,2\n"), False)
@example(("bare csv", b"\xef\xbb\xbf1,2,3\r\n"), True)
@example(("csv", b'a,b,c\n"1","2","3"\n1,"2,3\n"1"2,3,4\n"a""b",,""\n'), False)
@example(("csv", b'a,b,c\n"1,2","3"\n"1,2","3,4",",,,"\n'), False)
@example(("tabs", b'\t\t\n \t \t\n  \n"a\tb"\t1\t2\n'), False)
def test_every_file_is_read_as_a_slow_reader_reads_it(file: tuple[str, bytes], zipped: bool) -> None:
    name, raw = file
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), raw, "rows.csv.gz" if zipped else "rows.csv")
        # Two magic bytes make a gzip file, whatever its name: such a plain file is refused as a damaged one.
        if not zipped and raw.startswith(b"\x1f\x8b"):
            with pytest.raises(ParseError, match="cut short or damaged"):
                scan_text(path, NAMES, FORMS[name])
            return
        assert scanned(path, FORMS[name]) == slowly(raw, FORMS[name])


plain_text = st.text(st.sampled_from('ab,"\n\r é'), max_size=6)


@given(st.lists(st.tuples(plain_text, plain_text, plain_text), max_size=8), ends)
def test_what_csv_writes_over_many_lines_is_read_back_with_its_lines(
    rows: list[tuple[str, str, str]], end: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        starts = []
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator=end.decode(), quoting=csv.QUOTE_ALL)
            writer.writerow(NAMES)
            for row in rows:
                stream.flush()
                starts.append(path.read_bytes().count(b"\n") + 1)
                writer.writerow(row)
        frame = scan_text(path, NAMES, TextFormat(multi_line=True)).collect()
    assert frame[ROW].to_list() == starts
    assert frame[FAULT].null_count() == len(rows)
    # A carriage return before a line feed is taken for the end of a line, in a field as elsewhere.
    expected = [tuple(field.replace("\r\n", "\n") or None for field in row) for row in rows]
    assert frame.select(NAMES).rows() == expected


def test_a_quote_that_is_never_closed_costs_its_own_line_alone(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b,c\n1,"x\ny",2\n3,"oops,4\n5,6,7\n\n8,"9\n',)  # fmt: skip
    frame = scan_text(path, NAMES, TextFormat(multi_line=True)).collect()
    assert frame.select(ROW, "a", "b", FAULT).rows() == [
        (2, "1", "x\ny", None),
        (4, None, None, "text after a closing quote"),
        (5, "5", "6", None),
        (7, None, None, "unbalanced quote"),
    ]
    assert frame[TEXT].to_list() == ['1,"x\ny",2', '3,"oops,4', "5,6,7", '8,"9']


def test_a_quote_left_open_does_not_swallow_a_large_file(tmp_path: Path) -> None:
    num_lines = 3 * careful.MAX_RECORD_LINES
    path = write(tmp_path, 'a,b,c\n1,"2,3\n' + "4,5,6\n" * num_lines)
    frame = scan_text(path, NAMES, TextFormat(multi_line=True)).collect()
    assert frame.height == num_lines + 1
    assert frame[FAULT].to_list()[:2] == ["unbalanced quote", None]
    assert frame[FAULT].null_count() == num_lines


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("quoted", [False, True])
def test_lines_keep_their_numbers_and_order_in_a_file_of_many_batches(
    tmp_path: Path, zipped: bool, quoted: bool
) -> None:
    num_rows = 200_000
    quote = '"' if quoted else ""
    rows = [f"{quote}{n}{quote},{n % 7},x" for n in range(num_rows)]
    rows[70_000], rows[150_000], rows[199_999] = "1,2", "", '"1,2,3'
    path = write(tmp_path, "a,b,c\r\n" + "\r\n".join(rows), "rows.csv.gz" if zipped else "rows.csv")
    batches = list(scan_text(path, NAMES).collect_batches(maintain_order=True))
    assert len(batches) > 1
    frame = pl.concat(batches)
    expected = [n for n in range(num_rows) if n != 150_000]
    assert frame[ROW].to_list() == [n + 2 for n in expected]
    assert frame.filter(pl.col(FAULT).is_not_null()).select(ROW, FAULT, TEXT).rows() == [
        (70_002, "2 fields; expected 3", "1,2"),
        (200_001, "unbalanced quote", '"1,2,3'),
    ]
    assert frame["a"].to_list()[:70_000] == [str(n) for n in range(70_000)]
    assert frame["b"].to_list()[100_000:150_000] == [str(n % 7) for n in range(100_000, 150_000)]


def test_columns_are_found_by_name_in_any_order_and_optional_ones_may_be_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff\n c ,note,a,b\n3,hello,1,\n")
    frame = scan_text(path, ["a", "b"], optional=["c", "d"]).collect()
    assert frame.rows() == [(3, "1", None, "3", None, None, "3,hello,1,")]
    assert frame.columns == [ROW, "a", "b", "c", "d", FAULT, TEXT]
    assert scan_text(path, None).collect().columns == [ROW, "c", "note", "a", "b", FAULT, TEXT]
    assert header_of(path) == ["c", "note", "a", "b"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", r"rows.csv:1: the file is empty; expected a header"),
        ("\n\n", r"rows.csv:1: the file is empty; expected a header"),
        ("\na,b\n1,2\n", r"rows.csv:2: the header 'a,b' has 0 columns 'c'; expected a, b, c, each once"),
        ("a,b,c,a\n", r"rows.csv:1: the header 'a,b,c,a' has 2 columns 'a'"),
        (b"a,b,\xff\n", r"rows.csv:1: the header .* cannot be read: not utf-8"),
        ('a,b,"c\n', r"rows.csv:1: the header .* cannot be read: unbalanced quote"),
    ],
)
def test_a_header_without_each_column_once_is_refused(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    with pytest.raises(ParseError, match=complaint):
        scan_text(write(tmp_path, content), NAMES)


def test_a_file_that_is_not_there_and_a_gzip_file_that_is_not_whole_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nowhere.csv: no such file"):
        scan_lines(tmp_path / "nowhere.csv")
    whole = gzip.compress(b"".join(b"%d,2,3\n" % n for n in range(3_000)))
    path = tmp_path / "rows.csv.gz"
    for content in (
        whole[: len(whole) // 2],
        whole[:-4],
        whole[:-8] + bytes(8),
        whole + b"\0\0",
        whole + b"x",
    ):
        path.write_bytes(content)
        with pytest.raises(ParseError, match=r"rows.csv.gz: the gzip file is cut short or damaged"):
            scan_text(path, NAMES, TextFormat(has_header=False))


def test_gzip_files_of_several_members_are_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"1,2,3\n4,5") + gzip.compress(b"") + gzip.compress(b",6\n7,8,9\n"))
    frame = scan_text(path, NAMES, TextFormat(has_header=False)).collect()
    assert frame.select(ROW, *NAMES).rows() == [(1, "1", "2", "3"), (2, "4", "5", "6"), (3, "7", "8", "9")]


def test_an_encoding_that_is_declared_is_read_and_what_is_not_in_it_is_told(tmp_path: Path) -> None:
    old = TextFormat("::", has_header=False, encoding="latin-1", quoted=False)
    frame = scan_text(write(tmp_path, "1::Amélie::x\n".encode("latin-1")), NAMES, old).collect()
    assert frame.rows() == [(1, "1", "Amélie", "x", None, "1::Amélie::x")]
    east = TextFormat(has_header=False, encoding="shift_jis")
    path = write(tmp_path, "1,表,x\n".encode("shift_jis") + b"2,\x81\n")
    frame = scan_text(path, NAMES, east).collect()
    assert frame["b"].to_list()[0] == "表"
    assert frame[FAULT].to_list() == [None, "2 fields; expected 3"]
    assert scan_lines(path, "shift_jis").collect()[FAULT].to_list() == [None, "not shift_jis"]
    assert scan_lines(write(tmp_path, "a\n")).collect().rows() == [(1, "a", None)]


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda: TextFormat("::"), "text.separator: found '::'"),
        (lambda: TextFormat(""), "text.separator: found ''"),
        (lambda: TextFormat('"'), "text.separator: found '\"'"),
        (lambda: TextFormat(encoding="utf-16"), "text.encoding: found 'utf-16'"),
        (lambda: TextFormat(encoding="klingon"), "text.encoding: found 'klingon'"),
    ],
)
def test_a_format_that_cannot_be_is_refused(made: object, complaint: str) -> None:
    assert callable(made)
    with pytest.raises(ConfigError, match=complaint):
        made()
