"""Episodes → the title that they belong to."""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from towers.errors import SchemaError

log = logging.getLogger(__name__)


def title_rows(items: pa.Table) -> Int64[np.ndarray, " N"]:
    """The row of the title that each row of the items table counts for: an episode's series, else itself.

    An event of row i is one of row title_rows[i]; several episodes of a series are then several events of
    one title, and weigh together as rewatches do. Look up durations by the episode's own row first. A
    series_id that is no item_id, or the row's own, leaves a row as it is; the former are logged with their
    count. Raises SchemaError where a series belongs to another: a series of series is no title.
    """
    item_id, series_id = items["item_id"].combine_chunks(), items["series_id"]
    found = pc.index_in(series_id, value_set=item_id)
    unknown = pc.and_(pc.is_valid(series_id), pc.is_null(found))
    own = np.arange(items.num_rows)
    title: np.ndarray = np.where(
        pc.is_valid(found).to_numpy(), pc.fill_null(found, 0).to_numpy().astype(np.int64), own
    )
    chained = np.flatnonzero(title[title] != title)
    if len(chained):
        episode, series, beyond = (item_id[int(row)].as_py() for row in _chain(title, int(chained[0])))
        raise SchemaError(
            f"items: {episode!r} belongs to {series!r}, which belongs to {beyond!r} ({len(chained)} such "
            "rows); expected a series_id that names a title without one"
        )
    if items.num_rows > series_id.null_count:
        log.info(
            "rolled episodes up to their series num_episodes=%d num_series=%d num_unknown_series=%d",
            np.sum(title != own),
            len(np.unique(title[title != own])),
            pc.sum(unknown).as_py() or 0,
        )
    return title


def _chain(title: np.ndarray, row: int) -> tuple[int, int, int]:
    return row, int(title[row]), int(title[title[row]])
