"""What of people a log may say once it is ingested: every knob in one place, all off by default."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from towers.errors import ConfigError, ReleaseError
from towers.settings import bounded


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """How much of people is kept, and in what form.

    key: where the keys of the pseudonyms lie, a path or env:NAME (`pseudonyms.read_pseudonyms`); null leaves
    ids as the source has them. Only where they lie is ever written down, and the name of the one used.
    withhold_rejected: rejected rows and errors about people name file, row, rule and column, and nothing of
    what stands there. So it always is under a key.
    min_profiles_per_place: a place that fewer profiles share is told more coarsely, until as many share it;
    of profiles the postal code first, then the region, then the country.
    min_profiles_per_query: a search whose text fewer profiles asked is left out.
    max_events_per_profile: of events, and of searches, the newest so many of a profile are kept.
    retention_days: older events and searches are left out, counted back from `as_of`.
    as_of: in ISO 8601, UTC; null is the clock.
    """

    key: str | None = None
    withhold_rejected: bool = False
    min_profiles_per_place: int = bounded(1, ge=1)
    min_profiles_per_query: int = bounded(1, ge=1)
    max_events_per_profile: int | None = bounded(None, ge=1)
    retention_days: float | None = bounded(None, gt=0.0)
    as_of: str | None = None

    def oldest_ms(self) -> int | None:
        """The first moment that is kept, in Unix milliseconds; None keeps all. ConfigError on a bad as_of."""
        if self.retention_days is None:
            return None
        oldest = moment(self.as_of, "privacy.as_of") - timedelta(days=self.retention_days)
        return round(oldest.timestamp() * 1000)


def privacy_of(context: Mapping[str, Any]) -> PrivacySettings:
    """What the tables of a training were ingested under; the defaults where its settings are older than that.

    context: the settings of the training, as plain values. Raises ReleaseError where they are no settings.
    """
    said = context.get("privacy")
    if said is None:
        return PrivacySettings()
    if not isinstance(said, dict) or not set(said) <= set(asdict(PrivacySettings())):
        raise ReleaseError(f"training settings: privacy is {said!r}; expected the settings of an ingest")
    return PrivacySettings(**said)


def moment(text: str | None, key: str) -> datetime:
    """The moment that a setting says, of the clock where it says none; ConfigError where it is none."""
    if text is None:
        return datetime.now(UTC)
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {text!r}; expected a moment in ISO 8601, such as 2026-01-31") from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)
