"""Some rows of a large table."""

import numpy as np
import pyarrow as pa
from jaxtyping import Integer


def taken(table: pa.Table, row: Integer[np.ndarray, " n"]) -> pa.Table:
    """What `Table.take` gives of these rows, in their order, one as often as it is named.

    Arrow joins all pieces of a column of texts or lists before it takes some of it: of a table that was read
    with several threads that is a copy of the whole. Here each piece gives its own. IndexError on a row that
    the table has not.
    """
    order = np.argsort(row, kind="stable")
    sorted_row = row[order]
    if len(row) and not 0 <= sorted_row[0] <= sorted_row[-1] < table.num_rows:
        raise IndexError(
            f"rows {sorted_row[0]} to {sorted_row[-1]} of a table of {table.num_rows}; expected rows of it"
        )
    parts, first, begin = [table.slice(0, 0)], 0, 0
    for piece in table.to_batches():
        end = int(np.searchsorted(sorted_row, first + piece.num_rows))
        if end > begin:
            parts.append(pa.Table.from_batches([piece.take(pa.array(sorted_row[begin:end] - first))]))
        first, begin = first + piece.num_rows, end
    found = pa.concat_tables(parts).combine_chunks()
    if np.array_equal(sorted_row, row):
        return found
    back = np.empty(len(row), np.int64)
    back[order] = np.arange(len(row))
    return found.take(pa.array(back))
