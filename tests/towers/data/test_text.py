import gzip
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from towers.data.sources import text
from towers.data.sources.text import Column, Kind, Layout, find_file, read_numbers, read_rows
from towers.errors import ParseError, SchemaError

NUMBERS = (
    Column("user", Kind.INTEGER, low=0),
    Column("stars", Kind.NUMBER, low=0.5, high=5),
    Column("time", Kind.INTEGER, low=0, high=1000),
)
CSV = Layout(NUMBERS)
DAT = Layout(NUMBERS, "::", has_header=False, encoding="latin-1")
TABS = Layout(NUMBERS, "\t", has_header=False, encoding="latin-1")
LAYOUTS = [CSV, DAT, TABS]


def write(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def body(layout: Layout, rows: list[tuple[str, ...]], end: str = "\n") -> str:
    header = [layout.separator.join(layout.names)] if layout.has_header else []
    return "".join(line + end for line in [*header, *(layout.separator.join(row) for row in rows)])


def outcome(path: Path, layout: Layout, fast: bool) -> object:
    try:
        return (read_numbers if fast else read_rows)(path, layout).rows()
    except (ParseError, SchemaError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["csv", "dat", "tabs"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("read", [read_rows, read_numbers])
def test_every_layout_is_read_plain_or_gzipped(
    tmp_path: Path, layout: Layout, name: str, end: str, read: object
) -> None:
    path = write(tmp_path, body(layout, [("7", "3.5", "10"), ("12", "5", "0")], end), name)
    assert callable(read)
    frame = read(path, layout)
    assert frame.rows() == [(7, 3.5, 10), (12, 5.0, 0)]
    assert frame.schema == {"user": pl.Int64, "stars": pl.Float64, "time": pl.Int64}


def test_the_fast_parser_reads_plain_files_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without this, a fast parser that gives up on everything would pass every other test.
    monkeypatch.setattr(text, "read_rows", None)
    for layout in LAYOUTS:
        path = write(tmp_path, body(layout, [("7", "3.5", "10")]))
        assert read_numbers(path, layout).rows() == [(7, 3.5, 10)]


field = st.sampled_from(
    ["1", "07", "+3", "-1", "0", "4.5", ".5", "5.", "5e0", "1e3", "1e-9", "nan", "inf", "", " 2", "3 ", "1_0",
     "x", '"4"', '"', "9" * 18, "9" * 19, "9" * 25, "0x1", "1,5", "1:2", "1::2", "1\t2", "1\r2", "é", "#1"]
)  # fmt: skip
row = st.lists(field, min_size=0, max_size=4).map(tuple)


@given(st.sampled_from(LAYOUTS), st.lists(row, max_size=5), st.sampled_from(["\n", "\r\n"]))
@example(DAT, [("1:9:2", "3")], "\n")
@example(CSV, [("1", "2", "3"), (), ("1", "2", "3")], "\n")
def test_the_fast_and_the_careful_reader_agree_on_every_file(
    layout: Layout, rows: list[tuple[str, ...]], end: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), body(layout, rows, end))
        assert outcome(path, layout, fast=True) == outcome(path, layout, fast=False)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("x,3,10", r"rows.csv:3: user is 'x'; expected an integer >= 0"),
        ("-1,3,10", r"rows.csv:3: user is '-1'; expected an integer >= 0"),
        ("1.5,3,10", r"rows.csv:3: user is '1.5'; expected an integer >= 0"),
        ("9223372036854775808,3,10", r"rows.csv:3: user is '9223372036854775808'"),
        ("1,nan,10", r"rows.csv:3: stars is 'nan'; expected a number from 0.5 to 5"),
        ("1,6,10", r"rows.csv:3: stars is '6'; expected a number from 0.5 to 5"),
        ("1,,10", r"rows.csv:3: stars is ''; expected a number from 0.5 to 5"),
        ("1,3,-10", r"rows.csv:3: time is '-10'; expected an integer from 0 to 1000"),
        ("1,3", r"rows.csv:3: '1,3' has 2 fields; expected 3, with user,stars,time"),
        ("1,3,10,11", r"rows.csv:3: '1,3,10,11' has 4 fields; expected 3"),
        ('1,"3,10', r"rows.csv:3: .*; expected comma-separated, well-quoted fields"),
        ("1" * 500 + ",3,10", r"rows.csv:3: user is '1{60}…'; expected"),
    ],
)
def test_a_bad_row_is_named_with_its_line_its_text_and_what_was_expected(
    tmp_path: Path, bad: str, complaint: str
) -> None:
    path = write(tmp_path, f"user,stars,time\n7,3.5,10\n{bad}\n8,1,2\n")
    for read in (read_numbers, read_rows):
        with pytest.raises(ParseError, match=complaint):
            read(path, CSV)


def test_lines_are_counted_through_blank_ones_and_quoted_ones_of_many_lines(tmp_path: Path) -> None:
    layout = Layout((Column("id", Kind.INTEGER), Column("text")))
    path = write(tmp_path, 'id,text\n1,"one\ntwo\nthree"\n\n2,"a ""quoted"" word"\nx,last\n')
    with pytest.raises(ParseError, match=r"rows.csv:7: id is 'x'; expected an integer$"):
        read_rows(path, layout)
    good = write(tmp_path, 'id,text\n1,"one\ntwo"\n\n2,"a ""quoted"" word"\n')
    assert read_rows(good, layout).rows() == [(1, "one\ntwo"), (2, 'a "quoted" word')]


def test_columns_are_found_by_name_in_any_order_and_others_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufefftime,note,stars,user\n10,hello,3.5,7\n")
    assert read_rows(path, CSV).rows() == [(7, 3.5, 10)]
    assert read_numbers(path, CSV).rows() == [(7, 3.5, 10)]


@pytest.mark.parametrize("header", ["user,stars", "user,stars,time,time", "7,3.5,10"])
def test_a_header_without_each_column_once_is_refused(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, f"{header}\n7,3.5,10,10\n")
    for read in (read_numbers, read_rows):
        with pytest.raises(
            ParseError, match=r"rows.csv:1: the header .* expected user,stars,time, each once"
        ):
            read(path, CSV)


def test_an_optional_column_may_be_missing_and_a_nullable_field_may_be_empty(tmp_path: Path) -> None:
    layout = Layout(
        (Column("id", Kind.INTEGER), Column("cast", nullable=True), Column("runtime", optional=True))
    )
    path = write(tmp_path, "id,cast\n1,Ann\n2,\n")
    assert read_rows(path, layout).rows() == [(1, "Ann", None), (2, None, None)]
    assert read_rows(path, layout).schema == {"id": pl.Int64, "cast": pl.String, "runtime": pl.String}


def test_a_text_outside_its_choices_is_refused(tmp_path: Path) -> None:
    layout = Layout((Column("gender", choices=("F", "M")),), "::", has_header=False)
    with pytest.raises(ParseError, match=r"rows.csv:2: gender is 'X'; expected one of F, M"):
        read_rows(write(tmp_path, "F\nX\n"), layout)


@pytest.mark.parametrize("read", [read_rows, read_numbers])
def test_an_empty_file_and_a_file_without_rows_are_refused(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(
        ParseError, match=r"rows.csv:1: the file is empty; expected a header with user,stars,time"
    ):
        read(write(tmp_path, ""), CSV)
    with pytest.raises(SchemaError, match=r"rows.csv: no rows"):
        read(write(tmp_path, "user,stars,time\n"), CSV)
    with pytest.raises(SchemaError, match=r"rows.csv: no rows"):
        read(write(tmp_path, ""), DAT)


@pytest.mark.parametrize("read", [read_rows, read_numbers])
def test_a_gzip_file_that_is_cut_short_or_damaged_is_refused(tmp_path: Path, read: object) -> None:
    assert callable(read)
    whole = gzip.compress(body(CSV, [(str(n), "3.5", str(n % 1000)) for n in range(3_000)]).encode())
    path = tmp_path / "rows.csv.gz"
    for content in (whole[: len(whole) // 2], whole[:-4], whole[:-8] + bytes(8), b"user,stars,time\n1,2,3\n"):
        path.write_bytes(content)
        with pytest.raises(ParseError, match=r"rows.csv.gz:\d+: the gzip file is cut short or damaged"):
            read(path, CSV)


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    layout = Layout((Column("title"),))
    with pytest.raises(ParseError, match=r"rows.csv:3: 'Amélie\\n' cannot be decoded; expected utf-8 text"):
        read_rows(write(tmp_path, "title\nHeat\nAmélie\n".encode("latin-1")), layout)
    old = Layout((Column("title"),), "::", has_header=False, encoding="latin-1")
    assert read_rows(write(tmp_path, "Amélie\n".encode("latin-1")), old).rows() == [("Amélie",)]


def test_a_plain_file_goes_before_its_gzipped_twin(tmp_path: Path) -> None:
    assert find_file(tmp_path, "rows.csv") is None
    gzipped = write(tmp_path, "x", "rows.csv.gz")
    assert find_file(tmp_path, "rows.csv") == gzipped
    plain = write(tmp_path, "x", "rows.csv")
    assert find_file(tmp_path, "rows.csv") == plain
