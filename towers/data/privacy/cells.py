"""Places told as coarsely as it takes for enough profiles to share each; searches that enough have asked."""

from collections.abc import Sequence

import polars as pl

_WAS = "as it was "


def coarse_cells(members: pl.DataFrame, who: str, columns: Sequence[str], least: int) -> pl.DataFrame:
    """What each cell becomes, so that at least `least` profiles share every cell that says something.

    members: `who` and the columns, coarsest first (country, region, postal code); a row may stand often.
    Gives the distinct cells, as _WAS… columns, and what they become. From the finest column to the coarsest,
    a value that fewer share is left out. Those that are left with none, if they are fewer than `least`, would
    be known by that: the least shared value beside them is left out too. Where all members together are fewer
    than `least`, nothing is said of any. k-anonymity by global recoding: Sweeney 2002,
    doi:10.1142/S021848850200165X.
    """
    cells = members.unique([who, *columns]).with_columns(pl.col(name).alias(_WAS + name) for name in columns)
    before = None
    # What a coarser column leaves out joins those without it, some of whom may tell a finer one: look again.
    while before is None or not cells.equals(before):
        before = cells
        for level in reversed(range(len(columns))):
            above, value = list(columns[:level]), columns[level]
            shared = cells.group_by([*above, value]).agg(num=pl.col(who).n_unique())
            rare = shared.filter(pl.col(value).is_not_null() & (pl.col("num") < least))
            cells = _left_out(cells, rare, columns, level)
            cells = _left_out(cells, _beside_few(cells, who, above, value, least), columns, level)
    return cells.select(*(_WAS + name for name in columns), *columns).unique([_WAS + n for n in columns])


def _beside_few(cells: pl.DataFrame, who: str, above: list[str], value: str, least: int) -> pl.DataFrame:
    """The least shared value of each place in which too few are left without one; by ties the first."""
    shared = cells.group_by([*above, value]).agg(num=pl.col(who).n_unique())
    few = shared.filter(pl.col(value).is_null() & (pl.col("num") < least))
    said = shared.filter(pl.col(value).is_not_null()).sort("num", value)
    if not above:
        return said.head(few.height)
    said = said.unique(above, keep="first", maintain_order=True)
    return said.join(few.select(above), on=above, nulls_equal=True)


def _left_out(cells: pl.DataFrame, these: pl.DataFrame, columns: Sequence[str], level: int) -> pl.DataFrame:
    """The cells without the values given, nor what is told more finely below them."""
    key = list(columns[: level + 1])
    marked = cells.join(
        these.select(*key, gone=pl.lit(True)), on=key, how="left", nulls_equal=True, maintain_order="left"
    )
    finer = (pl.when(pl.col("gone").is_null()).then(pl.col(name)).alias(name) for name in columns[level:])
    return marked.with_columns(finer).drop("gone")


def recoded(frame: pl.DataFrame, columns: Sequence[str], cells: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The frame with its cells as `coarse_cells` says, and in how many rows that changed something."""
    found = frame.select(columns).with_columns(pl.col(name).cast(pl.String) for name in columns)
    told = found.join(
        cells, left_on=list(columns), right_on=[_WAS + n for n in columns], how="left",
        nulls_equal=True, maintain_order="left", suffix=" told",
    ).select(pl.col(f"{name} told").alias(name) for name in columns)  # fmt: skip
    changed = pl.any_horizontal(found[name].is_not_null() & told[name].is_null() for name in columns)
    num_changed = int(pl.select(changed).to_series().sum()) if frame.height else 0
    return frame.with_columns(told[name].cast(frame.schema[name]) for name in columns), num_changed


def coarsened(frame: pl.DataFrame, who: str, columns: Sequence[str], least: int) -> tuple[pl.DataFrame, int]:
    """The frame with its places so coarse that `least` share each, and the number of rows that changed."""
    if least <= 1 or all(frame[name].null_count() == frame.height for name in columns):
        return frame, 0
    members = frame.select(pl.col(who), *(pl.col(name).cast(pl.String) for name in columns))
    return recoded(frame, columns, coarse_cells(members, who, columns, least))


def often_asked(queries: pl.DataFrame, least: int) -> pl.DataFrame:
    """The searches whose text at least so many profiles asked; case and blanks do not count."""
    if least <= 1:
        return queries
    text = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    num = pl.col("profile_id").drop_nulls().n_unique().over(text)
    return queries.filter(num >= least)


def newest(queries: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """The newest so many searches of each profile; of one moment the later rows."""
    if most is None:
        return queries
    by_time = queries.with_row_index("row").sort("profile_id", "time", "row")
    behind = pl.len().over("profile_id") - pl.int_range(pl.len()).over("profile_id")
    kept = by_time.filter((behind <= most) | pl.col("profile_id").is_null())
    return kept.sort("row").drop("row")
