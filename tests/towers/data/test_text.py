import gzip
from pathlib import Path

import polars as pl
import pytest

from towers.data.sources.text import Column, Kind, Layout, read_rows
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


@pytest.mark.parametrize("layout", LAYOUTS, ids=["csv", "dat", "tabs"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_layout_is_read_plain_or_gzipped(tmp_path: Path, layout: Layout, name: str, end: str) -> None:
    path = write(tmp_path, body(layout, [("7", "3.5", "10"), ("12", "5", "0")], end), name)
    frame = read_rows(path, layout)
    assert frame.rows() == [(7, 3.5, 10), (12, 5.0, 0)]
    assert frame.schema == {"user": pl.Int64, "stars": pl.Float64, "time": pl.Int64}


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
    with pytest.raises(ParseError, match=complaint):
        read_rows(path, CSV)


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


@pytest.mark.parametrize("header", ["user,stars", "user,stars,time,time", "7,3.5,10"])
def test_a_header_without_each_column_once_is_refused(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, f"{header}\n7,3.5,10,10\n")
    with pytest.raises(ParseError, match=r"rows.csv:1: the header .* expected user,stars,time, each once"):
        read_rows(path, CSV)


def test_an_optional_column_may_be_missing_and_a_nullable_field_may_be_empty(tmp_path: Path) -> None:
    layout = Layout(
        (Column("id", Kind.INTEGER), Column("cast", nullable=True), Column("runtime", optional=True))
    )
    path = write(tmp_path, "id,cast\n1,Ann\n2,\n")
    assert read_rows(path, layout).rows() == [(1, "Ann", None), (2, None, None)]
    assert read_rows(path, layout).schema == {"id": pl.Int64, "cast": pl.String, "runtime": pl.String}


def test_an_empty_file_and_a_file_without_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ParseError, match=r"rows.csv:1: the file is empty; expected a header with user,stars,time"
    ):
        read_rows(write(tmp_path, ""), CSV)
    with pytest.raises(SchemaError, match=r"rows.csv: no rows"):
        read_rows(write(tmp_path, "user,stars,time\n"), CSV)
    with pytest.raises(SchemaError, match=r"rows.csv: no rows"):
        read_rows(write(tmp_path, ""), DAT)


def test_a_gzip_file_that_is_cut_short_or_damaged_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(body(CSV, [(str(n), "3.5", str(n % 1000)) for n in range(3_000)]).encode())
    path = tmp_path / "rows.csv.gz"
    for content in (whole[: len(whole) // 2], whole[:-4], whole[:-8] + bytes(8), b"user,stars,time\n1,2,3\n"):
        path.write_bytes(content)
        with pytest.raises(ParseError, match=r"rows.csv.gz:\d+: the gzip file is cut short or damaged"):
            read_rows(path, CSV)


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    layout = Layout((Column("title"),))
    with pytest.raises(ParseError, match=r"rows.csv:3: 'Amélie\\n' cannot be decoded; expected utf-8 text"):
        read_rows(write(tmp_path, "title\nHeat\nAmélie\n".encode("latin-1")), layout)
    old = Layout((Column("title"),), "::", has_header=False, encoding="latin-1")
    assert read_rows(write(tmp_path, "Amélie\n".encode("latin-1")), old).rows() == [("Amélie",)]
