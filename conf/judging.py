"""What the jobs that judge what was learned can be told: evaluate.py and drift.py."""

from dataclasses import dataclass, field

from conf.structured import register
from towers.data.ingest.rules import RuleSettings
from towers.data.sources.read import SourceSettings
from towers.errors import ConfigError
from towers.evaluation.drift import DriftSettings
from towers.ladder.simple import SimpleSettings


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """What evaluate.py judges: the current release of `artifacts`, beside the simpler rungs.

    ks: places at which the metrics are taken; 10 is among them.
    slices: also by country, region, age, history, activity, head and tail, genre, maturity and hour.
    store_key: the keys that the release may be sealed under, a path or env:NAME.
    """

    artifacts: str = "artifacts"
    ks: list[int] = field(default_factory=lambda: [10, 100])
    slices: bool = False
    simple: SimpleSettings = field(default_factory=SimpleSettings)
    store_key: str | None = None

    def __post_init__(self) -> None:
        if min(self.ks, default=0) < 1 or 10 not in self.ks:
            raise ConfigError(f"ks: found {list(self.ks)}; expected places >= 1, and 10 among them")


@dataclass(frozen=True, slots=True)
class DriftCheckSettings:
    """What drift.py compares: newer logs, and what the model in `artifacts` learned from.

    data: the source as it is now, with or without the older events. reuse_tables: read those in
    artifacts/drift/tables again. drift: limits, and how many days are read.
    against: another artifacts folder, whose newer model the item vectors are compared with.
    now: when is asked, in ISO 8601, UTC; null is the clock.
    """

    data: SourceSettings
    reuse_tables: bool = False
    rules: RuleSettings = field(default_factory=RuleSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
    against: str | None = None
    now: str | None = None
    artifacts: str = "artifacts"


register("evaluate_settings", EvaluateSettings)
register("drift_settings", DriftCheckSettings)
