"""What an ingest did to the rows of a source: counts, by table and rule."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from towers.errors import MissingDataError, SchemaError

REPORT_FILE = "ingest.json"
"""What became of the rows of the source (`IngestReport`)."""


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
    FORGOTTEN = "forgotten"
    """A profile that asked to be forgotten is in no table."""
    RETENTION = "retention"
    """An event or a search is no older than may be kept."""
    CONTRIBUTION = "contribution"
    """A profile has no more events or searches than may be kept of one."""
    RARE_TEXT = "rare_text"
    """As many profiles as are needed asked the text of a search."""
    RARE_PLACE = "rare_place"
    """As many profiles as are needed share a place."""


class Outcome(StrEnum):
    """What became of rows that break a rule."""

    REJECTED = "rejected"
    REPAIRED = "repaired"
    WARNED = "warned"
    WITHHELD = "withheld"
    """Left out for the sake of a person, and kept nowhere."""
    COARSENED = "coarsened"
    """A place was told more coarsely."""


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
    num_read = num_written - added + rejected + withheld, per table.
    key_name: which key the pseudonyms are of (`PseudonymKey.name`); None where ids are those of the source.
    min_profiles_per_place, min_profiles_per_query: as in `PrivacySettings`.
    erased_from: what the tables were (`state_of`) before each erasure, oldest first.
    """

    title: str
    num_read: Mapping[str, int]
    num_written: Mapping[str, int]
    added: Mapping[str, int]
    counts: tuple[Count, ...]
    seconds: float
    key_name: str | None = None
    min_profiles_per_place: int = 1
    min_profiles_per_query: int = 1
    erased_from: tuple[str, ...] = ()

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
        erased_from = tuple(read.get("erased_from", ()))
        return IngestReport(**{**read, "counts": counts, "erased_from": erased_from})


def read_report(folder: Path) -> IngestReport:
    """The report that `ingest` wrote to a folder of tables.

    MissingDataError where there is none, SchemaError where it is another thing.
    """
    path = folder / REPORT_FILE
    if not path.is_file():
        raise MissingDataError(f"{path}: no such report; run scripts/ingest.py to read the logs first")
    try:
        return IngestReport.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SchemaError(f"{path}: {error}; expected what scripts/ingest.py wrote: run it again") from error
