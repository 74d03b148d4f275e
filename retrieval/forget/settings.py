"""Within what time a forgotten profile must be out of what cannot be changed at once."""

from dataclasses import dataclass, field

from towers.errors import ConfigError
from towers.settings import bounded


@dataclass(frozen=True, slots=True)
class ErasureSettings:
    """Days are counted from the moment of the request.

    releases_days: how long an older release that holds the profile stays for a way back; it answers the
    profile as unknown meanwhile. Then it is removed, pinned or not. retrain_days: until when a model that
    learned from it must be replaced. backups: days after which each backup, by name, no longer holds what was
    erased; what is in them is out of reach, so the receipt says until when. signing_key: an Ed25519 private
    key in PEM, by its path; null leaves receipts unsigned.
    """

    releases_days: float = bounded(7.0, ge=0.0)
    retrain_days: float = bounded(30.0, ge=0.0)
    backups: dict[str, float] = field(default_factory=dict)
    signing_key: str | None = None

    def __post_init__(self) -> None:
        for name, days in self.backups.items():
            if not days >= 0.0:
                raise ConfigError(f"backups.{name}: {days!r} is out of range; expected >= 0")
