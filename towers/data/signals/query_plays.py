"""Searches joined to what was played after them."""

import polars as pl

from towers.errors import ConfigError

_ROW = "query_row"
_WHO = "query_profile"


def played_after(
    queries: pl.LazyFrame, events: pl.LazyFrame, *, window_minutes: float = 30.0
) -> pl.LazyFrame:
    """The queries, item_id being the first event of the same profile in the `window_minutes` after the query.

    queries, events: with the columns of `schema.QUERIES` and `schema.EVENTS`, in any order of time; the
    queries come back in theirs. An event counts from the moment of the query to the end of the window, both
    included, and only before the next query of that profile: what is played then is the next one's. Of
    events of one moment the first in the table counts, of queries of one moment the last. An item_id that
    the log has stays; a query without a profile gets none.
    """
    if not window_minutes > 0.0:
        raise ConfigError(f"window_minutes: {window_minutes}; expected > 0")
    columns = queries.collect_schema().names()
    numbered = queries.with_row_index(_ROW)
    asked = numbered.filter(pl.col("profile_id").is_not_null()).sort("profile_id", "time", _ROW)
    asked = asked.select(
        _ROW,
        "profile_id",
        "time",
        next_time=pl.col("time").shift(-1).over("profile_id"),
        open=pl.col("item_id").is_null(),
    ).filter("open")
    # Events of profiles that never searched, most of a log, are gone before anything is sorted, and a small
    # number stands for an id wherever rows are compared.
    who = asked.select("profile_id").unique(maintain_order=True).with_row_index(_WHO)
    plays = events.select("profile_id", "start", played="item_id").join(
        who, on="profile_id", maintain_order="left"
    )
    answered = (
        asked.join(who, on="profile_id")
        .sort("time")
        .join_asof(
            plays.sort("start", maintain_order=True),
            left_on="time",
            right_on="start",
            by=_WHO,
            strategy="forward",
            tolerance=f"{round(window_minutes * 60_000)}ms",
            coalesce=False,
            check_sortedness=False,
        )
        .filter(pl.col("next_time").is_null() | (pl.col("start") < pl.col("next_time")))
        .select(_ROW, "played")
    )
    return (
        numbered.join(answered, on=_ROW, how="left", maintain_order="left")
        .with_columns(item_id=pl.coalesce("item_id", "played"))
        .select(columns)
    )
