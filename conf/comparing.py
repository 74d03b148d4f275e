"""What the jobs that compare models can be told: ladder.py, tune.py and decay.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conf.from_logs import FromLogsSettings
from conf.structured import register
from retrieval.index.spec import IndexSpec
from retrieval.release.build_rung import ListSettings
from retrieval.release.gates import GateSettings
from towers.data.split import SplitSettings
from towers.errors import ConfigError
from towers.evaluation.retraining import RetrainingSettings
from towers.ladder.climb import ClimbSettings
from towers.ladder.decay_study import StudySettings
from towers.ladder.promotion import check_publish
from towers.ladder.rungs import RungSettings
from towers.ladder.tuned import read_tuned, with_tuned
from towers.ladder.tuning import TuningSettings
from towers.ladder.variants import check_variants
from towers.training.recipe import Settled, Statistics
from towers.training.settings import FitSettings


@dataclass(frozen=True, slots=True)
class ComparingSettings(FromLogsSettings):
    """What a job that compares models on held-out events can be told.

    features, recipe, model, objective, loader, trainer, seed: of the towers.
    """

    def settled(self, statistics: Statistics) -> Settled:
        """What decides what the towers learn: what is given, and of the rest what the recipe chooses.

        Raises ConfigError where the towers were to be private: what chooses by held-out events is not.
        """
        settled = self.by_recipe(statistics)
        if settled.fit.trainer.dp.on:
            raise ConfigError(
                "trainer.dp: this job compares models on held-out events of the profiles, without noise; "
                "expected it of scripts/train.py and scripts/rebuild.py alone"
            )
        return settled


@dataclass(frozen=True, slots=True)
class LadderSettings(ComparingSettings):
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
        return {"title": title, "rung": judged, **self.plain(settled)}


@dataclass(frozen=True, slots=True)
class DecaySettings(ComparingSettings):
    """What decay.py measures: the ageing of one rung, from raw logs or the tables that stand in `artifacts`.

    study: which rung, where the log is cut, and what is tried. retraining: what a retrain, a warm start and a
    rebuild cost, and what quality is worth. rungs: of the rungs that are not the towers.
    """

    rungs: RungSettings = field(default_factory=RungSettings)
    study: StudySettings = field(default_factory=StudySettings)
    retraining: RetrainingSettings = field(default_factory=RetrainingSettings)


@dataclass(frozen=True, slots=True)
class TuneSettings(ComparingSettings):
    """What tune.py searches: better settings of rungs, from raw logs or the tables that stand in `artifacts`.

    rungs: the settings that the searches start from, of the rungs that are not the towers.
    """

    split: SplitSettings = field(default_factory=SplitSettings)
    rungs: RungSettings = field(default_factory=RungSettings)
    tune: TuningSettings = field(default_factory=TuningSettings)


register("ladder_settings", LadderSettings)
register("decay_settings", DecaySettings)
register("tune_settings", TuneSettings)
