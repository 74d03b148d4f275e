"""What each script can be told: one settings tree per entry config, made of the owners' dataclasses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from conf.audits import AuditPart, AuditSettings
from conf.forget import ForgetSettings
from conf.releases import ReleasesSettings
from conf.sources import IngestSettings
from conf.structured import register
from conf.viewers import ControlSettings, ExplainSettings
from retrieval.index.spec import IndexSpec
from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.due import Retrain, read_signs
from retrieval.rebuild.survey import Asked
from retrieval.release.build_rung import ListSettings
from retrieval.release.gates import GateSettings
from retrieval.release.verify import Verify
from towers.data.batches import LoaderSettings
from towers.data.features import FeatureSettings
from towers.data.ingest.rules import RuleSettings
from towers.data.privacy.sealed import read_store_keys
from towers.data.privacy.settings import PrivacySettings
from towers.data.signals.countries import country_codes
from towers.data.signals.settings import SignalSettings
from towers.data.sources.read import SourceSettings
from towers.data.split import SplitSettings
from towers.errors import ConfigError
from towers.evaluation.drift import DriftSettings
from towers.evaluation.retraining import RetrainingSettings
from towers.ladder.climb import ClimbSettings
from towers.ladder.decay_study import StudySettings
from towers.ladder.drift_check import seconds_of
from towers.ladder.promotion import check_publish
from towers.ladder.rungs import RungSettings
from towers.ladder.simple import SimpleSettings
from towers.ladder.tuned import read_tuned, with_tuned
from towers.ladder.tuning import TuningSettings
from towers.ladder.variants import check_variants
from towers.nets.backbone import check_backbone
from towers.nets.two_tower import ModelSettings
from towers.objectives.settings import ObjectiveSettings
from towers.settings import Partly, bounded
from towers.training.dp.refusals import check_private, check_query_tower
from towers.training.query_settings import QueryFitSettings
from towers.training.recipe import GivenSettings, Preset, Settled, Statistics, recipe, trains_on_gpu
from towers.training.settings import FitSettings, TrainerSettings

__all__ = [
    "AuditPart",
    "AuditSettings",
    "ControlSettings",
    "DecaySettings",
    "DriftCheckSettings",
    "EvaluateSettings",
    "ExplainSettings",
    "ForgetSettings",
    "IngestSettings",
    "LadderSettings",
    "PipelineSettings",
    "RebuildSettings",
    "RecommendAllSettings",
    "RecommendSettings",
    "ReleasesSettings",
    "Stage",
    "TuneSettings",
]


class Stage(StrEnum):
    """How far a service has come; it decides where training runs and what an index may cost."""

    ZERO_TO_ONE = "zero_to_one"
    ONE_TO_SCALE = "one_to_scale"
    GLOBAL_SCALE = "global_scale"


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """From raw logs to a release: what train.py and build_index.py, and later rebuild jobs, share.

    warm_start: an exported model to go on from; null learns from nothing.
    reuse_tables: learn from the tables that ingest.py wrote, without reading the source again; what `rules`
    and `privacy` say of a source is then what ingest.py was told.
    recipe: what decides every value of model, objective, loader and trainer that is not given.
    query_tower: how what finds texts by their meaning is trained, after the towers.
    dimension: how many of the vectors' first numbers a release searches; null: all.
    candidate: publish without making it current, for a canary.
    store_key: the keys that seal the profiles of releases, a path or env:NAME; null leaves them in clear.
    artifacts: the folder that holds tables, model, checkpoints and releases of this service.
    """

    data: SourceSettings
    stage: Stage = Stage.ZERO_TO_ONE
    reuse_tables: bool = False
    rules: RuleSettings = field(default_factory=RuleSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    signals: SignalSettings = field(default_factory=SignalSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    recipe: Preset = Preset.FAST
    model: Partly[ModelSettings] = field(default_factory=partial(Partly, ModelSettings))
    objective: Partly[ObjectiveSettings] = field(default_factory=partial(Partly, ObjectiveSettings))
    loader: Partly[LoaderSettings] = field(default_factory=partial(Partly, LoaderSettings))
    trainer: Partly[TrainerSettings] = field(default_factory=partial(Partly, TrainerSettings))
    query_tower: QueryFitSettings = field(default_factory=QueryFitSettings)
    index: IndexSpec = field(default_factory=IndexSpec)
    dimension: int | None = bounded(None, ge=1)
    gates: GateSettings = field(default_factory=GateSettings)
    candidate: bool = False
    seed: int = bounded(0, ge=0, lt=2**32)
    warm_start: str | None = None
    store_key: str | None = None
    artifacts: str = "artifacts"

    def settled(self, statistics: Statistics) -> Settled:
        """What decides what the towers learn: what is given, and of the rest what the recipe chooses.

        Raises ConfigError on what a private training refuses, and as `check_backbone`: the query tower is the
        last to be trained.
        """
        settled = _settled(self, statistics, self.warm_start)
        if self.query_tower.epochs and self.query_tower.backbone is not None:
            check_backbone(Path(self.query_tower.backbone))
        if settled.fit.trainer.dp.on:
            check_private(settled.fit)
            check_query_tower(self.query_tower.epochs)
        return settled

    def context(self, title: str, settled: Settled) -> Mapping[str, Any]:
        """Everything but where things lie, as plain values: how an export came about.

        title: of the data that was learned from, as ingest named it. settled: what the towers learned under.
        """
        return {"title": title, **_plain(self, settled)}


@dataclass(frozen=True, slots=True)
class RebuildSettings(PipelineSettings):
    """What rebuild.py can be told: all that train.py and build_index.py can, of the same service.

    plan: say what would be done, and publish nothing. upkeep: how far an index goes on with updates.
    retrain: when towers are trained; max_age_days: from which age on, beside schedule and drift; null: by
    those alone. verify: how much of the live release is hashed before it is built upon. now: when is asked,
    in ISO 8601, UTC; null is the clock. reuse_tables: take those in artifacts/rebuild/tables again. remote:
    where what is published is pushed to, as of releases.py; null: nowhere.
    """

    plan: bool = False
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)
    retrain: Retrain = Retrain.DUE
    max_age_days: float | None = bounded(None, gt=0.0)
    verify: Verify = Verify.FULL
    now: str | None = None
    remote: str | None = None

    def asked(self) -> Asked:
        """What the release is to be."""
        return Asked(
            index=self.index,
            dimension=self.dimension,
            max_parity_error=self.gates.max_parity_error,
            retrain=self.retrain,
            signs=read_signs(Path(self.artifacts), self.max_age_days),
            now_seconds=seconds_of(self.now),
            verify=self.verify,
            store_keys=read_store_keys(self.store_key),
        )

    def pipeline(self) -> PipelineSettings:
        """What train.py is told by it: to learn from the tables that stand in `artifacts`."""
        told = {item.name: getattr(self, item.name) for item in fields(PipelineSettings)}
        return PipelineSettings(**told | {"reuse_tables": True})


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """What a job that fits rungs from logs and releases none of them can be told.

    features, recipe, model, objective, loader, trainer, seed: of the towers. reuse_tables: as in train.py.
    """

    data: SourceSettings
    reuse_tables: bool = False
    rules: RuleSettings = field(default_factory=RuleSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    signals: SignalSettings = field(default_factory=SignalSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    recipe: Preset = Preset.FAST
    model: Partly[ModelSettings] = field(default_factory=partial(Partly, ModelSettings))
    objective: Partly[ObjectiveSettings] = field(default_factory=partial(Partly, ObjectiveSettings))
    loader: Partly[LoaderSettings] = field(default_factory=partial(Partly, LoaderSettings))
    trainer: Partly[TrainerSettings] = field(default_factory=partial(Partly, TrainerSettings))
    seed: int = bounded(0, ge=0, lt=2**32)
    artifacts: str = "artifacts"

    def settled(self, statistics: Statistics) -> Settled:
        """What decides what the towers learn: what is given, and of the rest what the recipe chooses.

        Raises ConfigError where the towers were to be private: what chooses by held-out events is not.
        """
        settled = _settled(self, statistics)
        if settled.fit.trainer.dp.on:
            raise ConfigError(
                "trainer.dp: this job compares models on held-out events of the profiles, without noise; "
                "expected it of scripts/train.py and scripts/rebuild.py alone"
            )
        return settled


@dataclass(frozen=True, slots=True)
class LadderSettings(LearningSettings):
    """What ladder.py climbs: rungs from raw logs, or from the tables that stand in `artifacts`.

    tuned: a file of tune.py, whose settings its rungs take; null leaves them as they stand.
    publish: the rung to release when all are judged, "promoted" for the one that stands; null releases none.
    index, gates: of its release; lists: where it answers from lists; store_key: what seals its profiles.
    """

    split: SplitSettings = field(default_factory=SplitSettings)
    climb: ClimbSettings = field(default_factory=ClimbSettings)
    tuned: str | None = None
    publish: str | None = None
    index: IndexSpec = field(default_factory=IndexSpec)
    gates: GateSettings = field(default_factory=GateSettings)
    lists: ListSettings = field(default_factory=ListSettings)
    store_key: str | None = None

    def __post_init__(self) -> None:
        check_publish(self.publish, self.climb.names)
        check_variants(self.climb.variants, self.climb.names, self.climb.rungs, towers=None)

    def with_tuned(self) -> "LadderSettings":
        """The same with what `tuned` chose in its place, and given."""
        if self.tuned is None:
            return self
        tuned = read_tuned(Path(self.tuned))
        rungs, towers = with_tuned(self.climb.rungs, FitSettings(), tuned, self.tuned)
        model, objective, trainer = self.model, self.objective, self.trainer
        for field_of_towers in (name for rung in tuned.values() for name in rung.fields):
            match field_of_towers.split("."):
                case ["towers", "model", name]:
                    model = model.also({name: getattr(towers.model, name)})
                case ["towers", "objective", name]:
                    objective = objective.also({name: getattr(towers.objective, name)})
                case ["towers", "trainer", name]:
                    trainer = trainer.also({name: getattr(towers.trainer, name)})
        climb = replace(self.climb, rungs=rungs)
        return replace(self, climb=climb, model=model, objective=objective, trainer=trainer)

    def context(self, title: str, judged: Mapping[str, Any], settled: Settled) -> Mapping[str, Any]:
        """How a rung came about, as plain values: the settings it was fitted under, and how it was judged."""
        return {"title": title, "rung": judged, **_plain(self, settled)}


@dataclass(frozen=True, slots=True)
class DecaySettings(LearningSettings):
    """What decay.py measures: the ageing of one rung, from raw logs or the tables that stand in `artifacts`.

    study: which rung, where the log is cut, and what is tried. retraining: what a retrain, a warm start and a
    rebuild cost, and what quality is worth. rungs: of the rungs that are not the towers.
    """

    rungs: RungSettings = field(default_factory=RungSettings)
    study: StudySettings = field(default_factory=StudySettings)
    retraining: RetrainingSettings = field(default_factory=RetrainingSettings)


@dataclass(frozen=True, slots=True)
class TuneSettings(LearningSettings):
    """What tune.py searches: better settings of rungs, from raw logs or the tables that stand in `artifacts`.

    rungs: the settings that the searches start from, of the rungs that are not the towers.
    """

    split: SplitSettings = field(default_factory=SplitSettings)
    rungs: RungSettings = field(default_factory=RungSettings)
    tune: TuningSettings = field(default_factory=TuningSettings)


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
class RecommendSettings:
    """What recommend.py shows of the current release of `artifacts`.

    profile: one profile; similar: one item; search: a text. With none of them, a sample of each: three
    profiles, a title and a search. country: of the request, ISO 3166-1 alpha-2, where it differs from the
    profile's.
    store_key: the keys that the release may be sealed under, a path or env:NAME.
    """

    artifacts: str = "artifacts"
    profile: str | None = None
    similar: str | None = None
    search: str | None = None
    country: str | None = None
    k: int = bounded(10, ge=1)
    store_key: str | None = None

    def __post_init__(self) -> None:
        if self.country is not None and self.country not in country_codes():
            raise ConfigError(f"country: found {self.country!r}; expected ISO 3166-1 alpha-2, such as GB")


@dataclass(frozen=True, slots=True)
class RecommendAllSettings:
    """What recommend_all.py writes: the best k titles of every profile of the current release of `artifacts`.

    output: the Parquet file; null is recommendations.parquet in `artifacts`. time_seconds: of the requests,
    Unix seconds; null is each one's last event. available: only what may be shown in the profile's country at
    that moment, or without one at the newest event of all. store_key: the keys that the release may be sealed
    under, a path or env:NAME; what is written lies in clear.
    """

    artifacts: str = "artifacts"
    output: str | None = None
    k: int = bounded(100, ge=1)
    time_seconds: int | None = bounded(None, ge=0)
    available: bool = False
    store_key: str | None = None


_PLACES = ("artifacts", "remote", "store_key")
"""What says of a service where its files and keys lie, and nothing of how a model came about."""


def _settled(
    settings: PipelineSettings | LearningSettings, statistics: Statistics, warm_start: str | None = None
) -> Settled:
    given = GivenSettings(
        model=settings.model,
        objective=settings.objective,
        loader=settings.loader,
        trainer=settings.trainer,
        seed=settings.seed,
        features=settings.features,
        warm_start=warm_start,
    )
    gpu = trains_on_gpu(settings.trainer.values.get("accelerator"))
    return recipe(statistics, settings.recipe, given, gpu=gpu)


def _plain(settings: PipelineSettings | LearningSettings, settled: Settled) -> dict[str, Any]:
    """All settings but of where things lie; of the towers those they are fitted under, and how chosen."""
    kept = {name: value for name, value in asdict(settings).items() if name not in _PLACES}
    return {**kept, **asdict(settled.fit), "recipe": settled.to_json()}


# The names that the entry configs extend; those of the data group are registered by conf.sources.
register("pipeline_settings", PipelineSettings)
register("rebuild_settings", RebuildSettings)
register("ladder_settings", LadderSettings)
register("decay_settings", DecaySettings)
register("tune_settings", TuneSettings)
register("drift_settings", DriftCheckSettings)
register("evaluate_settings", EvaluateSettings)
register("recommend_settings", RecommendSettings)
register("recommend_all_settings", RecommendAllSettings)
