"""What releases.py can be told."""

from dataclasses import dataclass
from enum import StrEnum

from conf.structured import register
from retrieval.release.verify import Verify
from towers.errors import ConfigError
from towers.settings import bounded


class ReleaseAction(StrEnum):
    """What releases.py does."""

    LIST = "list"
    """Shows all, the current and the pinned ones marked."""
    DESCRIBE = "describe"
    """Shows what one says of itself."""
    COMPARE = "compare"
    """Shows what changes from the release `against` to `release`."""
    VERIFY = "verify"
    """Hashes every file of all."""
    ROLL_BACK = "roll_back"
    """Makes `release` current, or the parent of the current one."""
    PROMOTE = "promote"
    """Makes `release`, which was published as a candidate, current."""
    PIN = "pin"
    """Keeps `release` from being cleared away."""
    UNPIN = "unpin"
    """Lets it be cleared away again."""
    PRUNE = "prune"
    """Removes all but the current one, the pinned ones and the newest `keep`."""
    PUSH = "push"
    """Lets `release`, the current one where none is given, stand in `remote` too."""
    PULL = "pull"
    """Lets that of `remote` stand in `artifacts` too."""


@dataclass(frozen=True, slots=True)
class ReleasesSettings:
    """What releases.py does with the releases of `artifacts`, or with those of `remote` where it is given.

    release: an id, the current one where none is given; against: the one to compare it with, needed for that.
    keep: releases that stay when older ones are removed; dry_run: say which, and remove none. verify: how
    much is hashed of a release that becomes current again. k: places compared. store_key: the keys that those
    compared may be sealed under, a path or env:NAME; nothing else looks inside. remote: the URL of an object
    store, or the folder of a shared disk; grace_hours: after how long without a new file a push is taken to
    have ended, so that `prune` clears away what it left.
    """

    artifacts: str = "artifacts"
    action: ReleaseAction = ReleaseAction.LIST
    release: str | None = None
    against: str = ""
    keep: int = bounded(5, ge=1)
    dry_run: bool = False
    verify: Verify = Verify.FULL
    k: int = bounded(10, ge=1)
    store_key: str | None = None
    remote: str | None = None
    grace_hours: float = bounded(24.0, ge=0.0)

    def __post_init__(self) -> None:
        if (
            self.action in (ReleaseAction.PROMOTE, ReleaseAction.PIN, ReleaseAction.UNPIN)
            and self.release is None
        ):
            raise ConfigError(f"release: not given; action={self.action} needs one, such as release=r000001")
        if self.action is ReleaseAction.COMPARE and not self.against:
            raise ConfigError("against: not given; action=compare needs one, such as against=r000001")
        if self.action in (ReleaseAction.PUSH, ReleaseAction.PULL) and self.remote is None:
            raise ConfigError(
                f"remote: not given; action={self.action} needs one, such as remote=s3://bucket/prefix"
            )
        if self.action is ReleaseAction.COMPARE and self.remote is not None:
            raise ConfigError("remote: given; action=compare opens what lies here: pull it first")

    def named(self) -> str:
        """The release that an action needs."""
        return self.release or ""


register("releases_settings", ReleasesSettings)
