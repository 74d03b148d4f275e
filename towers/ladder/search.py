"""A search for the settings of one rung: its trials, until the budget is spent, and what they found."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from rich.console import Console
from rich.progress import Progress

from towers.errors import MissingExtraError, StorageError, TowersError
from towers.evaluation.bootstrap import Interval, paired_bootstrap
from towers.ladder.rungs import RungName
from towers.ladder.search_spaces import Plain, Space
from towers.ladder.trials import Budget, Claim, Outcome, Trial, Trials, open_trials

log = logging.getLogger(__name__)

Measure = Callable[[Mapping[str, Plain], float], Float64[np.ndarray, " Q"]]
"""The quality per question of settings, learned from a share of the profiles."""

# What settings can make of a fit; a full disk or a missing library is no fault of theirs.
_FAILURES = (TowersError, MemoryError, ArithmeticError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides a search.

    study: the name its trials go by; those of another are never taken for them. start: a value of each field
    of the space; place 0 tries these. pilot_share: of the profiles, that a trial learns from first.
    """

    name: RungName
    study: str
    space: Space
    start: Mapping[str, Plain]
    pilot_share: float
    seed: int
    folder: Path

    def values_path(self, place: int) -> Path:
        """Where the quality per question of a finished trial stands."""
        return self.folder / "values" / self.study / f"{place}.npy"


@dataclass(frozen=True, slots=True)
class Search:
    """What the trials of one rung found. gain: of the best over the first, on what chose it: optimistic."""

    name: RungName
    trials: tuple[Trial, ...]
    gain: Interval | None

    @property
    def finished(self) -> tuple[Trial, ...]:
        """The trials that were measured whole."""
        return tuple(trial for trial in self.trials if trial.outcome is Outcome.FINISHED)

    @property
    def default(self) -> Trial | None:
        """The settings that the search started from; None where they could not be measured."""
        return next((trial for trial in self.finished if trial.place == 0), None)

    @property
    def best(self) -> Trial | None:
        """Of the highest value, the first of equals; None where no trial could be measured."""
        return max(self.finished, key=lambda trial: (trial.value or 0.0, -trial.place), default=None)

    def num(self, outcome: Outcome) -> int:
        """Trials that ended so."""
        return sum(trial.outcome is outcome for trial in self.trials)


def search(plan: Plan, measure: Measure, budget: Budget) -> None:
    """Carries out trials until the budget is spent, or claimed by other processes.

    A trial that fails by its settings is told with its reason. Whatever else `measure` raises ends the
    search, and the trial is free again.
    """
    console = Console(stderr=True)
    with (
        open_trials(plan.folder, plan.study, plan.space, plan.seed) as trials,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(f"searching {plan.name}", total=budget.num_trials)
        while (claim := trials.claim(plan.start, budget)) is not None:
            bar.update(task, completed=claim.place)
            try:
                _carry_out(plan, measure, trials, claim)
            except (MissingExtraError, StorageError):
                trials.give_back(claim)
                raise
            except _FAILURES as error:
                log.warning("trial failed rung=%s place=%d", plan.name, claim.place, exc_info=True)
                trials.fail(claim, f"{type(error).__name__}: {error}")
            except BaseException:
                trials.give_back(claim)
                raise


def found(plan: Plan) -> Search:
    """What the trials found so far."""
    with open_trials(plan.folder, plan.study, plan.space, plan.seed) as trials:
        so_far = Search(plan.name, trials.ended(), None)
    if so_far.best is None or so_far.default is None:
        return so_far
    best, default = (
        np.load(plan.values_path(trial.place), allow_pickle=False) for trial in (so_far.best, so_far.default)
    )
    return replace(so_far, gain=paired_bootstrap(best, default, seed=plan.seed))


def _carry_out(plan: Plan, measure: Measure, trials: Trials, claim: Claim) -> None:
    if plan.pilot_share < 1.0:
        pilot = float(measure(claim.chosen, plan.pilot_share).mean())
        if trials.is_hopeless(claim, pilot):
            trials.prune(claim)
            log.info("pruned trial rung=%s place=%d pilot=%.4f", plan.name, claim.place, pilot)
            return
    value = measure(claim.chosen, 1.0)
    path = plan.values_path(claim.place)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        np.save(file, value)
    aside.replace(path)
    trials.finish(claim, float(value.mean()))
    log.info("finished trial rung=%s place=%d value=%.4f", plan.name, claim.place, value.mean())
