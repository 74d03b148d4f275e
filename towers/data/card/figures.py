"""The figures of a data card, as values: plain, frozen, the same for the same tables."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from towers.data.ingest.report import IngestReport


@dataclass(frozen=True, slots=True)
class Named:
    """A value and in how many rows it stands."""

    name: str
    num_rows: int


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    num_null: rows without a value. num_distinct: different values, of a list its elements; None where
    values are not counted. low, median, high: of numbers and times, as text. top: the most frequent values
    that may be shown, most frequent first. num_hidden: values not shown because too few profiles have them.
    """

    name: str
    kind: str
    num_null: int
    num_distinct: int | None = None
    low: str | None = None
    median: str | None = None
    high: str | None = None
    top: tuple[Named, ...] = ()
    num_hidden: int = 0


@dataclass(frozen=True, slots=True)
class TableFigures:
    """One table: its rows, and its columns in the order of the schema."""

    name: str
    num_rows: int
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie in each bin; bin i holds edges[i] ≤ value < edges[i + 1], the last bin all above.

    As many edges as counts. mean and median are those of the values themselves.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    median: float

    @property
    def num_values(self) -> int:
        """Values in all bins."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Counts per period, none left out.

    period: day, week or month. starts: the first day of each, ISO 8601.
    """

    period: str
    starts: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Popularity:
    """How unevenly events fall on titles.

    ranks, events: titles by falling number of events, the first rank 1; a sample of ranks, even in
    logarithm. gini: 0 where all titles of the catalogue have as many events, towards 1 where one has all:
    Σ (2i - n - 1) x_i / (n Σ x_i) over the n titles in rising order x_1 … x_n, those without events too.
    top_share: share of events on the most watched hundredth of the catalogue, one title at the least.
    """

    ranks: tuple[int, ...]
    events: tuple[int, ...]
    gini: float
    top_share: float


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the events say; None where there are no events, or none that say it.

    first_day, last_day: ISO 8601, UTC. num_profiles, num_items: with at least one event. cold: titles of
    the catalogue without one. history_length: events per profile that has any. minutes, completion: per
    event. hours: events per hour of the day, UTC. countries: the most frequent, and of how many events or
    profiles (`countries_of`). new_titles: titles by the period of their first event. top_titles: the most
    watched, of those that enough profiles watched.
    """

    first_day: str | None
    last_day: str | None
    num_profiles: int
    num_items: int
    num_cold: int
    history_length: Histogram | None
    minutes: Histogram | None
    completion: Histogram | None
    events_over_time: Timeline | None
    new_titles: Timeline | None
    hours: tuple[int, ...] | None
    countries: tuple[Named, ...]
    countries_of: str
    popularity: Popularity | None
    top_titles: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A data card.

    report: what ingest did, None where the folder has no report. min_profiles: a value of a profile is
    shown only where so many profiles share it.
    """

    title: str
    tables: tuple[TableFigures, ...]
    behaviour: Behaviour
    report: IngestReport | None
    min_profiles: int

    def table(self, name: str) -> TableFigures:
        """The figures of one table."""
        return next(table for table in self.tables if table.name == name)

    def to_json(self) -> Mapping[str, Any]:
        """Plain values."""
        return asdict(self)
