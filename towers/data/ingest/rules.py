"""What happens to rows that break a rule: one policy per rule, all in one place."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from towers.errors import ConfigError
from towers.settings import bounded, check_ranges


class Policy(StrEnum):
    """What to do with a row that breaks a rule; every such row is counted."""

    REJECT_ROW = "reject_row"
    """Left out of the tables and written, with rule, file and row, to the rejected rows."""
    REJECT_FILE = "reject_file"
    """The job ends with an error that names the row; the tables written before stay as they are."""
    REPAIR = "repair"
    """Put right as the rule says, or, where that is not possible, left out as with reject_row."""
    WARN = "warn"
    """Kept as it is."""


_ROW_OR_FILE = (Policy.REJECT_ROW, Policy.REJECT_FILE)
_ANY = (*_ROW_OR_FILE, Policy.REPAIR)
_POLICIES = {
    "malformed": _ROW_OR_FILE,
    "encoding": _ANY,
    "type": _ANY,
    "range": _ANY,
    "metadata": _ANY,
    "missing": _ROW_OR_FILE,
    "clock": _ANY,
    "duplicate_id": _ROW_OR_FILE,
    "duplicate_event": _ROW_OR_FILE,
    "unknown_item": _ANY,
    "unknown_profile": _ANY,
    "unknown_country": _ANY,
    "time_travel": (*_ROW_OR_FILE, Policy.WARN),
}


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """A policy per rule, and the bounds that rules need.

    malformed: a record has too few or too many fields, or its quotes are not closed.
    encoding: text is not valid in its encoding; repair reads it as Windows-1252.
    type, range: a value of an event or a query is no such type, or out of its column's range; repair makes
    an optional value null.
    metadata: the same for items and profiles, where a bad year should not cost a title and all its events.
    missing: a required value is not there.
    clock: a time is not from `earliest` to before `latest` (ISO dates); repair tries the other clock units.
    duplicate_id: an item or profile stands twice; the first row is kept.
    duplicate_event: the same profile, item and start; the first row is kept.
    unknown_item: an event or query of a title that is not in the items; repair adds a title with the id as
    its name. Where a source has no items at all, that is what is done.
    unknown_profile: the same for profiles, where the source has a table of them.
    unknown_country: a text that names no country of ISO 3166-1, in any table; repair makes it null, and
    leaves out a licence for it.
    time_travel: an event in a year before the title's release.
    max_rejected_share: a table that loses more than this share of its rows ends the job: then it is the
    mapping that is wrong, not the rows.
    """

    malformed: Policy = Policy.REJECT_ROW
    encoding: Policy = Policy.REPAIR
    type: Policy = Policy.REJECT_ROW
    range: Policy = Policy.REJECT_ROW
    metadata: Policy = Policy.REPAIR
    missing: Policy = Policy.REJECT_ROW
    clock: Policy = Policy.REJECT_ROW
    duplicate_id: Policy = Policy.REJECT_ROW
    duplicate_event: Policy = Policy.REJECT_ROW
    unknown_item: Policy = Policy.REJECT_ROW
    unknown_profile: Policy = Policy.REPAIR
    unknown_country: Policy = Policy.REPAIR
    time_travel: Policy = Policy.WARN
    earliest: str = "1990-01-01"
    latest: str = "2100-01-01"
    max_rejected_share: float = bounded(0.5, ge=0.0, le=1.0)

    def clock_ms(self) -> tuple[int, int]:
        """`earliest` and `latest` in Unix milliseconds; ConfigError where one is no date."""
        return _date_ms(self.earliest, "earliest"), _date_ms(self.latest, "latest")


def check_rules(settings: RuleSettings, key: str = "rules") -> None:
    """Raises ConfigError naming the key of a policy that its rule does not know, or of a bad bound."""
    check_ranges(settings, key)
    for name, policies in _POLICIES.items():
        chosen = getattr(settings, name)
        if chosen not in policies:
            raise ConfigError(f"{key}.{name}: {chosen}; expected one of {', '.join(policies)}")
    earliest, latest = settings.clock_ms()
    if earliest >= latest:
        raise ConfigError(f"{key}.earliest: {settings.earliest}; expected a date before {key}.latest")


def _date_ms(text: str, name: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"rules.{name}: {text!r}; expected an ISO date such as 1990-01-01") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
