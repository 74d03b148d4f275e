"""Rows of a table in pieces, beside Arrow's own answer over the table in one."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.rows import taken


def _piece(first: int, num: int) -> pa.Table:
    number = range(first, first + num)
    return pa.table(
        {
            "id": pa.array([f"t{one}" for one in number], pa.string()),
            "names": pa.array(
                [None if one % 5 == 0 else ["n"] * (one % 3) for one in number], pa.list_(pa.string())
            ),
            "year": pa.array([None if one % 4 == 0 else one for one in number], pa.int32()),
        }
    )


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.data())
def test_rows_are_those_of_the_table_in_one_piece(sizes: list[int], data: st.DataObject) -> None:
    first = np.cumsum([0, *sizes])
    table = pa.concat_tables([_piece(int(at), num) for at, num in zip(first, sizes, strict=False)])
    most = table.num_rows - 1
    row = np.array(data.draw(st.lists(st.integers(0, most), max_size=12)) if most >= 0 else [], np.int64)

    found = taken(table, row)

    assert found.equals(table.combine_chunks().take(pa.array(row)))


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_is_not_there_is_an_error(row: int) -> None:
    with pytest.raises(IndexError, match="of a table of 3; expected rows of it"):
        taken(_piece(0, 3), np.array([0, row]))
