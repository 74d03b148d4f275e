"""Lines that differ, in columns of every type that tables have, held against Python's own comparison."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.rebuild.same import differing
from towers.data.schema import ITEMS

TEXT = st.none() | st.sampled_from(["", "a", "b"])
NUMBER = st.none() | st.sampled_from([0.0, 0.5, -1.0])
VALUES = {
    "title": st.sampled_from(["", "a", "b"]),
    "release_year": st.none() | st.integers(1900, 1903),
    "rating": NUMBER,
    "genres": st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=2),
    "embedding": st.none() | st.lists(st.sampled_from([0.5, 1.0]), min_size=2, max_size=2),
    "attributes": st.none() | st.lists(st.fixed_dictionaries({"name": TEXT, "value": TEXT}), max_size=2),
}


@pytest.mark.parametrize("column", VALUES)
def test_lines_differ_where_python_says_so(column: str) -> None:
    kind = ITEMS.field(column).type

    @settings(max_examples=60, deadline=None)
    @given(pairs=st.lists(st.tuples(VALUES[column], VALUES[column]), max_size=8), cut=st.integers(0, 8))
    def check(pairs: list[tuple[object, object]], cut: int) -> None:
        first, second = ([pair[place] for pair in pairs] for place in (0, 1))
        one = pa.chunked_array([pa.array(first[:cut], kind), pa.array(first[cut:], kind)])
        other = pa.chunked_array([pa.array(second, kind)])
        found = differing(one, other)
        read, also = one.to_pylist(), other.to_pylist()
        assert found.tolist() == [a != b for a, b in zip(read, also, strict=True)]

    check()


def test_an_unknown_number_is_the_same_as_itself() -> None:
    nan = pa.chunked_array([pa.array([[1.0, np.nan], [np.nan], None], pa.large_list(pa.float32()))])
    other = pa.chunked_array([pa.array([[1.0, np.nan], [2.0], []], pa.large_list(pa.float32()))])
    assert differing(nan, nan).tolist() == [False, False, False]
    assert differing(nan, other).tolist() == [False, True, True]
