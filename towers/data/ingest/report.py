"""What an ingest did to the rows of a source: counts, by table and rule."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Rule(StrEnum):
    """What a row must satisfy."""

    MALFORMED = "malformed"
    """A record can be taken apart into its fields."""
    ENCODING = "encoding"
    """Text is valid in its declared encoding."""
    TYPE = "type"
    """A value reads as its column's type."""
    MISSING = "missing"
    """A required value is there."""
    RANGE = "range"
    """A number lies within its column's range."""
    CLOCK = "clock"
    """A time lies within the bounds of the settings, in the clock unit of its file."""
    DUPLICATE_ID = "duplicate_id"
    """An item or a profile stands in one row."""
    DUPLICATE_EVENT = "duplicate_event"
    """A profile starts a title once at any one time."""
    UNKNOWN_ITEM = "unknown_item"
    """An event or a query names an item that the catalogue has."""
    UNKNOWN_PROFILE = "unknown_profile"
    """An event or a query names a profile of the profiles table, where the source has one."""
    UNKNOWN_COUNTRY = "unknown_country"
    """A country is one of ISO 3166-1, by code or by name."""
    TIME_TRAVEL = "time_travel"
    """A title is watched in the year of its release or later."""


class Outcome(StrEnum):
    """What became of rows that break a rule."""

    REJECTED = "rejected"
    REPAIRED = "repaired"
    WARNED = "warned"


@dataclass(frozen=True, slots=True)
class Count:
    """num_rows of one table broke a rule in a column and were rejected, repaired or only counted.

    A row that breaks several rules is rejected, and counted, by the first; repairs count every one.
    example: file and row of the first rejected one.
    """

    table: str
    rule: str
    column: str
    outcome: Outcome
    num_rows: int
    example: str | None = None


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What was read, and what became of it.

    num_read, num_written: rows per table. counts: every rule that was broken. added: rows that no source
    row stands for, by table (a profile that only the events name).
    num_read = num_written - added + rejected, per table.
    """

    title: str
    num_read: Mapping[str, int]
    num_written: Mapping[str, int]
    added: Mapping[str, int]
    counts: tuple[Count, ...]
    seconds: float

    def num_rejected(self, table: str) -> int:
        """Rows of one table that were left out."""
        return sum(c.num_rows for c in self.counts if c.table == table and c.outcome is Outcome.REJECTED)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @staticmethod
    def from_json(read: Mapping[str, Any]) -> "IngestReport":
        """The report that `to_json` wrote."""
        counts = tuple(Count(**{**each, "outcome": Outcome(each["outcome"])}) for each in read["counts"])
        return IngestReport(**{**read, "counts": counts})
