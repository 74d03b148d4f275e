"""Hyper-parameter search: every rung with the same budget, judged by the validation questions alone."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float64

from towers.data.dataset import Dataset, read_dataset
from towers.data.signals.settings import SignalSettings
from towers.data.split import Split, SplitSettings, held_out, split, with_fewer_profiles
from towers.errors import ConfigError, SchemaError
from towers.evaluation.evaluate import Metric, evaluate
from towers.ladder.fingerprint import fingerprint
from towers.ladder.measured import VALUE_K
from towers.ladder.rungs import RungName, RungSettings, asked_like, fit_rung
from towers.ladder.search import Plan, Search, found, search
from towers.ladder.search_spaces import SPACES, Plain, space_of
from towers.ladder.trials import Budget, alone
from towers.ladder.tuned import TUNED_FILE, Tuned, TunedRung, field_of, with_fields, write_tuned
from towers.settings import bounded, check_ranges
from towers.training.settings import FitSettings

log = logging.getLogger(__name__)


def _names() -> list[str]:
    return ["item_knn", "profile_knn", "markov", "linear", "trees", "ease", "ials"]


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """names: the rungs to search. num_trials: of each, the settings it starts from being the first.

    minutes: of trials per rung, over all processes and runs; whichever of the two is spent first ends it.
    pilot_share: of the profiles, that a trial learns from first; one of the lower half ends there. With 1
    all trials are measured whole.
    """

    names: list[str] = field(default_factory=_names)
    num_trials: int = bounded(30, ge=1)
    minutes: float | None = bounded(None, gt=0.0)
    pilot_share: float = bounded(0.25, gt=0.0, le=1.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a rung's settings are tried on.

    parts: a split whose test questions were thrown away. rungs, towers: all settings that are not tried.
    """

    dataset: Dataset
    parts: Split
    rungs: RungSettings
    towers: FitSettings
    seed: int

    def measure(self, name: RungName, chosen: Mapping[str, Plain], share: float) -> Float64[np.ndarray, " Q"]:
        """Validation N@10 per question of a rung that learned from a share of the profiles."""
        rungs, towers = with_fields(name, chosen, self.rungs, self.towers, f"tune: {name}")
        num_items = len(self.dataset.catalogue)
        parts = with_fewer_profiles(self.parts, share, num_items, self.seed)
        with TemporaryDirectory(prefix="tune-") as scratch:
            rung = fit_rung(name, self.dataset, parts, rungs, towers, Path(scratch))
            judged = evaluate(
                rung, parts.validation, num_items=num_items, ks=(VALUE_K,), name=name, show_progress=False
            )
        return judged.per_query(Metric.NDCG.at(VALUE_K))


def tune(
    tables: Path,
    signals: SignalSettings,
    split_settings: SplitSettings,
    rungs: RungSettings,
    towers: FitSettings,
    settings: TuningSettings,
    seed: int,
    folder: Path,
) -> tuple[Search, ...]:
    """Searches each rung from the settings given, and writes TUNED_FILE.

    Runs of the same data and settings go on with each other's trials, at once or later, until the budget is
    spent. A trial that fails says why, and the search goes on. Raises ConfigError on a name that cannot be
    searched or settings outside of what is searched, MissingDataError without tables, SchemaError where the
    split has no validation question.
    """
    check_ranges(settings, "tune")
    names = _checked_names(settings.names)
    rungs = asked_like(rungs, split_settings.kind)
    starts = {name: start_of(name, rungs, towers) for name in names}
    bench = make_bench(read_dataset(tables, signals), split_settings, rungs, towers, seed)
    if len(bench.parts.validation) == 0:
        raise SchemaError(
            f"{tables}: the split {split_settings.kind} leaves no validation question; expected a profile "
            "with three events or more, or a larger split.validation_share"
        )
    budget = Budget(settings.num_trials, None if settings.minutes is None else 60.0 * settings.minutes)
    decides = (signals, split_settings, rungs, towers)
    plans = []
    for name in names:
        space = space_of(name)
        decided = fingerprint(tables, decides, (name, space, settings.pilot_share, seed))
        study = f"{name}-{decided[:16]}"
        plans.append(Plan(name, study, space, starts[name], settings.pilot_share, seed, folder))
    for plan in plans:
        search(plan, partial(bench.measure, plan.name), budget)
    with alone(folder / ".tuned.lock"):  # so that the last of several processes sees the trials of all
        searches = tuple(found(plan) for plan in plans)
        write_tuned(tuned_of(searches), folder / TUNED_FILE)
    log.info("searched num_rungs=%d num_trials=%d", len(searches), sum(len(each.trials) for each in searches))
    return searches


def make_bench(
    dataset: Dataset, split_settings: SplitSettings, rungs: RungSettings, towers: FitSettings, seed: int
) -> Bench:
    """The Bench of a Dataset; its test questions are thrown away before anything is fitted."""
    parts = split(dataset, split_settings)
    ends = dataset.history.lengths
    return Bench(dataset, replace(parts, test=held_out(dataset, ends, ends)), rungs, towers, seed)


def start_of(name: RungName, rungs: RungSettings, towers: FitSettings) -> dict[str, Plain]:
    """The fields to search, as they stand. Raises ConfigError where one is outside of what is searched."""
    start = {}
    for part in space_of(name):
        value = field_of(part.field, rungs, towers)
        if not part.holds(value):
            key = f"rungs.{part.field}".removeprefix(f"rungs.{RungName.TOWERS}.")
            raise ConfigError(f"{key}: {value!r}; a search of {name} tries {part.spelled}")
        start[part.field] = value
    return start


def tuned_of(searches: Sequence[Search]) -> Tuned:
    """What was chosen; nothing of a rung whose trials all failed."""
    tuned = {}
    for each in searches:
        best, default = each.best, each.default
        if best is not None and best.value is not None:
            began = None if default is None else default.value
            tuned[each.name] = TunedRung(best.chosen, began, best.value, len(each.trials))
    return tuned


def _checked_names(names: Sequence[str]) -> list[RungName]:
    """The rungs of these names, from the bottom up."""
    unknown = sorted(set(names) - set(RungName))
    if unknown or not names:
        raise ConfigError(f"tune.names: {list(names)}; expected some of {', '.join(SPACES)}")
    chosen = [name for name in RungName if name in names]
    for name in chosen:
        space_of(name)
    return chosen
