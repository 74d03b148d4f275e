"""Canonical bytes of lines, against Python's own writing of them; and digests, which are of nothing else."""

import hashlib
import math
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from retrieval.release.digests import DIGESTS_FILE, digests, key_of, read_digests, write_digests
from retrieval.release.row_bytes import encoded_lines
from tests.retrieval.test_siphash import by_definition
from towers.data.schema import ITEMS, table
from towers.errors import ReleaseError

KEY = bytes(range(16))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXT = st.none() | st.sampled_from(["", "a", "b", "é", "\u2168", "名前", "a\0", "\x01"])
TEXTS = st.none() | st.lists(TEXT, max_size=3)
NUMBER = st.none() | st.sampled_from([0.0, -0.0, 0.5, -1.0, math.nan, math.inf])
TIMES = st.none() | st.integers(-(10**9), 10**9).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
LICENCE = st.none() | st.fixed_dictionaries({"country": TEXT, "start": TIMES, "end": TIMES})
LINE = st.fixed_dictionaries(
    {
        "item_id": st.sampled_from(["a", "b", "é"]),
        "title": st.sampled_from(["", "a", "name"]),
        "release_year": st.none() | st.integers(-3, 3000),
        "released": TIMES,
        "genres": TEXTS,
        "sub_genres": TEXTS,
        "language": TEXT,
        "rating": NUMBER,
        "duration_minutes": NUMBER,
        "embedding": st.none() | st.lists(NUMBER, max_size=3),
        "licences": st.none() | st.lists(LICENCE, max_size=3),
        "attributes": st.none() | st.lists(st.fixed_dictionaries({"name": TEXT, "value": TEXT}), max_size=2),
    }
)


def written(value: Any, kind: pa.DataType) -> bytes:
    """The bytes of one value, as the encoding is described."""
    if pa.types.is_struct(kind):
        fields = (written(None if value is None else value[each.name], each.type) for each in kind)
        return bytes([value is not None]) + b"".join(fields)
    if value is None:
        return b"\0"
    if pa.types.is_list(kind):
        return (
            b"\1" + struct.pack("<I", len(value)) + b"".join(written(one, kind.value_type) for one in value)
        )
    if pa.types.is_string(kind):
        spelled: bytes = value.encode()
        return b"\1" + struct.pack("<I", len(spelled)) + spelled
    if pa.types.is_timestamp(kind):
        return b"\1" + struct.pack("<q", (value - EPOCH) // timedelta(milliseconds=1))
    if pa.types.is_floating(kind):
        return b"\1" + (
            struct.pack("<I", 0x7FC00000) if math.isnan(value) else struct.pack("<f", value + 0.0)
        )
    return b"\1" + struct.pack("<h", value)


def items(lines: list[dict[str, Any]]) -> pa.Table:
    columns: dict[str, object] = {
        name: [line[name] for line in lines] for name in (lines[0] if lines else ())
    }
    return table(ITEMS, columns)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(LINE, max_size=5), cut=st.integers(0, 5), start=st.integers(0, 5))
def test_lines_are_encoded_as_it_is_written_down(lines: list[dict[str, Any]], cut: int, start: int) -> None:
    whole = items(lines)
    # In two pieces, and with lines before it that are not looked at.
    found = encoded_lines(pa.concat_tables([whole.slice(0, cut), whole.slice(cut)]).slice(start))
    strings = [
        found.data[at : at + length].tobytes()
        for at, length in zip(found.start.tolist(), found.length.tolist(), strict=True)
    ]
    expected = [b"".join(written(line[each.name], each.type) for each in ITEMS) for line in whole.to_pylist()]
    assert strings == expected[start:]
    assert found.data.sum() == sum(sum(one) for one in strings)  # nothing beside them


@settings(max_examples=25, deadline=None)
@given(lines=st.lists(LINE, min_size=1, max_size=4))
def test_a_digest_is_the_hash_of_the_line(lines: list[dict[str, Any]]) -> None:
    whole = items(lines)
    found = encoded_lines(whole)
    spelled = [found.data[at : at + n].tobytes() for at, n in zip(found.start, found.length, strict=True)]
    expected = [by_definition(one, KEY) for one in spelled]
    assert [each.tobytes() for each in digests(whole, KEY)] == expected


def test_digests_tell_each_change_of_a_column_and_nothing_else() -> None:
    line: dict[str, Any] = {
        "item_id": "a",
        "title": "One",
        "release_year": 1999,
        "genres": ["Drama", None],
        "rating": math.nan,
        "embedding": [0.5, 0.0],
        "licences": [{"country": "GB", "start": None, "end": EPOCH}],
        "attributes": [],
    }
    others: list[dict[str, Any]] = [
        {"title": "Öne"},
        {"release_year": None},
        {"genres": None},
        {"genres": []},
        {"genres": ["Drama"]},
        {"genres": [None, "Drama"]},
        {"genres": ["Dram", "a"]},
        {"sub_genres": []},
        {"language": ""},
        {"rating": 1.0},
        {"rating": None},
        {"embedding": [0.5, 0.0, 0.0]},
        {"licences": []},
        {"licences": [None]},
        {"licences": [{"country": None, "start": None, "end": EPOCH}]},
        {"licences": [{"country": "GB", "start": EPOCH, "end": None}]},
        {"attributes": None},
        {"attributes": [{"name": None, "value": None}]},
    ]
    columns = {name for other in others for name in other} | set(line)
    lines = [dict.fromkeys(columns) | line | other for other in ({}, *others)]
    found = digests(items(lines), KEY)
    assert len(np.unique(found, axis=0)) == len(lines)
    same = [lines[0], lines[3], lines[0] | {"embedding": [0.5, -0.0]}, lines[0]]
    again = digests(items(same), KEY)
    assert np.array_equal(again[[0, 1, 2, 3]], found[[0, 3, 0, 0]])
    assert not (digests(items(lines), bytes(16)) == found).any()


def test_digests_of_many_lines_are_those_of_each() -> None:
    num = 40_000  # more than are encoded at once
    years = np.arange(num, dtype=np.int16)
    whole = table(
        ITEMS, {"item_id": [str(row) for row in range(num)], "title": ["a"] * num, "release_year": years}
    )
    found = digests(whole, KEY)
    assert found.shape == (num, 2)
    for row in (0, 16_383, 16_384, num - 1):
        assert np.array_equal(digests(whole.slice(row, 1), KEY)[0], found[row])


def test_a_column_that_has_no_encoding_is_named() -> None:
    with pytest.raises(TypeError, match="a column of bool; expected numbers, texts"):
        encoded_lines(pa.table({"kids": [True]}))


def test_digests_are_kept_beside_their_titles(tmp_path: Path) -> None:
    assert read_digests(tmp_path) is None
    found = digests(items([]), KEY)
    assert found.shape == (0, 2)
    found = np.arange(6, dtype=np.uint64).reshape(3, 2)
    write_digests(tmp_path, found)
    read = read_digests(tmp_path)
    assert read is not None
    assert np.array_equal(read, found)
    path = tmp_path / DIGESTS_FILE
    path.write_bytes(path.read_bytes().replace(b"maturity", b"ripeness"))
    assert read_digests(tmp_path) is None  # of titles with other columns
    columns = {"columns": ", ".join(ITEMS.names)}
    path.write_bytes(save({"digest": np.zeros((3, 1))}, metadata=columns))
    with pytest.raises(ReleaseError, match=r"holds float64 \(3, 1\); expected digest uint64 \(rows, 2\)"):
        read_digests(tmp_path)
    path.write_bytes(b"nothing")
    with pytest.raises(ReleaseError, match=r"items_digests\.safetensors: .*expected a safetensors file"):
        read_digests(tmp_path)
    assert key_of(hashlib.sha256(b"").hexdigest()) == hashlib.sha256(b"").digest()[:16]
