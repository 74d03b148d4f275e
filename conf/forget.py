"""What forget.py can be told."""

from dataclasses import dataclass, field
from pathlib import Path

from conf.structured import register
from retrieval.forget.settings import ErasureSettings
from towers.errors import MissingDataError


@dataclass(frozen=True, slots=True)
class ForgetSettings:
    """Whom forget.py forgets in `artifacts`; nobody in particular goes on with what was begun or is due.

    profile: one id, as the service has it; profiles: a file of ids, one a line, which no list of processes
    shows. key: the keys of the pseudonyms, as privacy.key of the ingest; null where ids stand as they are.
    store_key: the keys that releases may be sealed under, a path or env:NAME.
    """

    artifacts: str = "artifacts"
    profile: str | None = None
    profiles: str | None = None
    key: str | None = None
    erasure: ErasureSettings = field(default_factory=ErasureSettings)
    store_key: str | None = None

    def ids(self) -> list[str]:
        """All that are asked for; MissingDataError where the file is not there."""
        named = [] if self.profile is None else [self.profile]
        if self.profiles is None:
            return named
        path = Path(self.profiles)
        if not path.is_file():
            raise MissingDataError(f"profiles: no file {path}; expected one of ids, one a line")
        lines = path.read_text(encoding="utf-8").splitlines()
        return named + [line.strip() for line in lines if line.strip()]


register("forget_settings", ForgetSettings)
