"""The trials of one search, in a journal that any number of processes share; the only importer of Optuna.

Hydra's own Optuna sweeper is no longer maintained and holds Optuna below 3; this is what of it is needed.
"""

import fcntl
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from towers.errors import ConfigError
from towers.ladder.extra import of_extra
from towers.ladder.search_spaces import Choices, Floats, Ints, Parameter, Plain, Space

JOURNAL_FILE = "trials.journal"
_PILOT = 1
_MOST_DEATHS = 2


class Outcome(StrEnum):
    """How a trial ended."""

    FINISHED = "finished"
    PRUNED = "pruned"
    """Stopped after its pilot: the half of all pilots so far was better."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial that ended.

    place: its place in the budget, from 0, which is that of the settings the search starts from.
    chosen: dotted field → value. value: what is maximised; None unless finished. reason: why it failed.
    """

    place: int
    outcome: Outcome
    chosen: Mapping[str, Plain]
    value: float | None
    reason: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Budget:
    """num_trials: finished, pruned and failed together. seconds: of trials, over all processes and runs."""

    num_trials: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that this process has to carry out: to be finished, pruned, failed or given back."""

    place: int
    chosen: Mapping[str, Plain]
    _trial: Any
    _began: float = field(default_factory=time.perf_counter)


class Trials:
    """An open search of one space, shared with other processes; opened by `open_trials`.

    A place is claimed by one process at a time and drawn by tree-structured Parzen estimators (Bergstra et
    al., NeurIPS 2011, https://papers.nips.cc/paper/4443) under a seed of its own. So a search that stopped
    goes on as if it had not, and one process alone draws the same trials every time.
    """

    def __init__(self, optuna: Any, study: Any, space: Space, seed: int, lock: Path, worker: Path) -> None:
        self._optuna, self._study, self._seed = optuna, study, seed
        self._distributions = {part.field: _distribution(optuna, part) for part in space}
        self._lock, self._worker = lock, worker

    def claim(self, start: Mapping[str, Plain], budget: Budget) -> Claim | None:
        """The next trial to carry out; None where the budget is spent or claimed. Place 0 tries `start`."""
        with alone(self._lock):
            self._bury_the_dead()
            counted = [each for each in self._study.get_trials(deepcopy=False) if _counts(each)]
            spent = sum(each.user_attrs.get("seconds", 0.0) for each in counted)
            if len(counted) >= budget.num_trials or (budget.seconds is not None and spent >= budget.seconds):
                return None
            taken = {each.user_attrs["place"] for each in counted}
            place = next(place for place in range(len(taken) + 1) if place not in taken)
            if place == 0 and not self._of_state("WAITING"):
                self._study.enqueue_trial(dict(start))
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=int(np.random.SeedSequence([self._seed, place]).generate_state(1)[0]),
                multivariate=True,
                constant_liar=True,
            )
            trial = self._study.ask(self._distributions)
            trial.set_user_attr("place", place)
            trial.set_user_attr("worker", self._worker.name)
            return Claim(place, dict(trial.params), trial)

    def is_hopeless(self, claim: Claim, value: float) -> bool:
        """Whether a trial's pilot is in the lower half of all pilots so far; never of the first place.

        Successive halving, asynchronous: Li et al., MLSys 2020, arXiv:1810.05934.
        """
        claim._trial.report(value, _PILOT)
        # Optuna's own pruner of this name would count the pilot of a trial whose process died as well, and
        # its place a second time.
        trials = filter(_counts, self._study.get_trials(deepcopy=False))
        reported = [each.intermediate_values for each in trials]
        pilots = sorted(values[_PILOT] for values in reported if _PILOT in values)
        return claim.place > 0 and value < pilots[-max(1, len(pilots) // 2)]

    def finish(self, claim: Claim, value: float) -> None:
        """Ends a trial with its value."""
        self._end(claim, "COMPLETE", value)

    def prune(self, claim: Claim) -> None:
        """Ends a trial after its pilot."""
        self._end(claim, "PRUNED")

    def fail(self, claim: Claim, reason: str) -> None:
        """Ends a trial that could not be measured; it counts, and is not tried again."""
        claim._trial.set_user_attr("reason", reason)
        self._end(claim, "FAIL")

    def give_back(self, claim: Claim) -> None:
        """Leaves a trial undone, for no fault of its settings: its place is free again."""
        self._end(claim, "FAIL")

    def ended(self) -> tuple[Trial, ...]:
        """The trials that ended, by place; none that was given back or whose process died."""
        trials = self._study.get_trials(deepcopy=False)
        outcomes = {"COMPLETE": Outcome.FINISHED, "PRUNED": Outcome.PRUNED, "FAIL": Outcome.FAILED}
        found = [
            Trial(
                place=each.user_attrs["place"],
                outcome=outcomes[each.state.name],
                chosen=dict(each.params),
                value=each.value if each.state.name == "COMPLETE" else None,
                reason=each.user_attrs.get("reason"),
                seconds=each.user_attrs.get("seconds", 0.0),
            )
            for each in trials
            if _counts(each) and each.state.is_finished()
        ]
        return tuple(sorted(found, key=lambda trial: trial.place))

    def _end(self, claim: Claim, state: str, value: float | None = None) -> None:
        claim._trial.set_user_attr("seconds", time.perf_counter() - claim._began)
        self._study.tell(claim._trial, value, state=self._optuna.trial.TrialState[state])

    def _of_state(self, name: str) -> list[Any]:
        states = (self._optuna.trial.TrialState[name],)
        trials: list[Any] = self._study.get_trials(deepcopy=False, states=states)
        return trials

    def _bury_the_dead(self) -> None:
        """Frees the places of processes that are no more; a place that took two with it is a failed trial.

        The settings, not chance, may be what kills: without this they would be tried for ever.
        """
        failed = self._optuna.trial.TrialState.FAIL
        for each in self._of_state("RUNNING"):
            # Claims are made alone: one without a worker was broken off in the middle.
            worker = each.user_attrs.get("worker")
            if worker is None or not _is_held(self._worker.with_name(worker)):
                self._study.tell(each.number, state=failed)
        trials = self._of_state("FAIL")
        settled = {each.user_attrs["place"] for each in trials if "reason" in each.user_attrs}
        dead = {each.user_attrs["place"]: each for each in trials if _died(each)}
        deaths = Counter(each.user_attrs["place"] for each in trials if _died(each))
        for place in sorted(place for place, number in deaths.items() if number >= _MOST_DEATHS):
            if place not in settled:
                reason = f"its process was killed {deaths[place]} times; out of memory?"
                told = {"place": place, "reason": reason, "seconds": 0.0}
                params, distributions = dead[place].params, dead[place].distributions
                self._study.add_trial(
                    self._optuna.trial.create_trial(
                        state=failed, params=params, distributions=distributions, user_attrs=told
                    )
                )


@contextmanager
def open_trials(folder: Path, name: str, space: Space, seed: int) -> Iterator[Trials]:
    """The Trials of that name below the folder, made where there are none.

    Processes are told apart by locks on files, which the kernel frees when they end, however they end; across
    machines on a shared disk too, where it carries flock (NFS since Linux 2.6.12). Raises MissingExtraError
    without Optuna, ConfigError where the journal cannot be read.
    """
    optuna = of_extra("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Absolute: the lock beside it is a link to this very path, which a relative one would not reach; a lock
    # that a killed process left would then never be seen to be old.
    journal = folder.resolve() / JOURNAL_FILE
    workers = journal.with_name("workers")
    workers.mkdir(parents=True, exist_ok=True)
    lock, worker = journal.with_name(".lock"), workers / uuid.uuid4().hex
    with worker.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            with alone(lock):
                study = _open_study(optuna, journal, name)
            yield Trials(optuna, study, space, seed, lock, worker)
        finally:
            worker.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Waits until no other process is in here."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open_study(optuna: Any, journal: Path, name: str) -> Any:
    try:
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{journal}: {error!r}; expected a journal of trials: move it away, and the search starts anew"
        ) from error
    return optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        load_if_exists=True,
    )


def _counts(trial: Any) -> bool:
    """Whether a trial takes a place of the budget: under way, or ended by itself."""
    if trial.state.name == "FAIL":
        return "reason" in trial.user_attrs
    return bool(trial.state.name != "WAITING")


def _died(trial: Any) -> bool:
    """Whether the process of a failed trial ended before it could say so."""
    return "worker" in trial.user_attrs and not {"seconds", "reason"} & set(trial.user_attrs)


def _is_held(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("r+") as file:  # NFS locks only what may be written
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _distribution(optuna: Any, part: Parameter) -> Any:
    of = optuna.distributions
    match part:
        case Floats():
            return of.FloatDistribution(part.low, part.high, log=part.log)
        case Ints():
            return of.IntDistribution(part.low, part.high, log=part.log)
        case Choices():
            return of.CategoricalDistribution(part.choices)
