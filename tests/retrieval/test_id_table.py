"""Rows of ids in machine code, beside a dictionary's."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.id_table import IdTable

# Few letters, so that ids repeat, and begin like each other; NUL and letters of several bytes are ids too.
IDS = st.text(st.sampled_from("ab\0é"), max_size=3)


@settings(deadline=None, max_examples=200)
@given(st.lists(IDS, max_size=30), st.lists(st.none() | IDS, max_size=30), st.none() | IDS, st.integers(0, 3))
def test_rows_are_those_of_a_dictionary(
    ids: list[str], asked: list[str | None], gap: str | None, cut: int
) -> None:
    first: dict[str, int] = {}
    for row, one in enumerate(ids):
        first.setdefault(one, row)
    num_gaps = 0 if gap is None else ids.count(gap)
    if num_gaps:
        del first[str(gap)]
    # Parts of longer columns begin anywhere in their buffers.
    column = pa.array(["x"] * cut + ids, pa.large_string()).slice(cut)
    wanted = pa.array(["y"] * cut + asked, pa.large_string()).slice(cut)

    table = IdTable(column, gap=gap)

    assert table.rows_of(wanted).tolist() == [-1 if one is None else first.get(one, -1) for one in asked]
    assert table.num_repeated == len(ids) - num_gaps - len(first)


def test_of_many_ids_each_has_its_own_row() -> None:
    ids = pa.array([f"t{place:06d}" for place in range(20_000)], pa.large_string())
    order = np.random.default_rng(0).permutation(20_000)

    table = IdTable(ids)

    assert np.array_equal(table.rows_of(ids.take(pa.array(order))), order)
    assert table.num_repeated == 0
