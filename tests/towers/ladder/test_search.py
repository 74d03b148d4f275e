"""Searches over spaces whose optimum is known, stopped, killed, shared and taken up again."""

import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.towers.ladder.searches import NUM_QUESTIONS, OPTIMUM, die, plan, quality, share_budget
from towers.errors import ConfigError, MissingExtraError, StorageError, TrainingError
from towers.ladder.search import Plan, Search, found, search
from towers.ladder.search_spaces import Choices, Ints, Plain
from towers.ladder.trials import JOURNAL_FILE, Budget, Outcome
from towers.processes import forked

# Each child is forked from one server that has imported what they run.
PROCESSES = forked("tests.towers.ladder.searches")


class Recorded:
    """`quality`, with what it was asked in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Plain, float, float]] = []

    def __call__(self, chosen: Mapping[str, Plain], share: float) -> np.ndarray:
        value = quality(chosen, share)
        self.calls.append((chosen["x"], share, float(value.mean())))
        return value


def searched(given: Plan, num_trials: int) -> Search:
    search(given, quality, Budget(num_trials))
    return found(given)


def killed(folder: Path, num_trials: int, calls_before: int) -> None:
    child = PROCESSES.Process(target=die, args=(folder, num_trials, calls_before))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def outline(of: Search) -> list[tuple[int, str, Mapping[str, Plain], float | None]]:
    return [(trial.place, trial.outcome.value, trial.chosen, trial.value) for trial in of.trials]


def test_a_planted_optimum_is_found(tmp_path: Path) -> None:
    of = searched(plan(tmp_path), 40)
    assert of.best is not None
    assert of.default is not None
    assert of.default.chosen == {"x": 50.0}
    assert isinstance(of.best.chosen["x"], float)
    assert OPTIMUM / 1.5 < of.best.chosen["x"] < OPTIMUM * 1.5
    assert of.gain is not None
    # Every question gains the same, so the interval is a point.
    gain = quality(of.best.chosen, 1.0)[0] - quality({"x": 50.0}, 1.0)[0]
    np.testing.assert_allclose([of.gain.difference, of.gain.low, of.gain.high], gain, rtol=1e-12)


def test_a_search_from_the_optimum_stays_there(tmp_path: Path) -> None:
    of = searched(plan(tmp_path, start=OPTIMUM), 12)
    assert of.best == of.default
    assert of.gain is not None
    assert of.gain.difference == 0.0


def test_whole_numbers_and_choices_are_searched_too(tmp_path: Path) -> None:
    space = (Ints("n", 1, 64, log=True), Choices("kind", ("a", "b", "c")))
    given = Plan(plan(tmp_path).name, "other", space, {"n": 1, "kind": "a"}, 1.0, 0, tmp_path)

    def measure(chosen: Mapping[str, Plain], share: float) -> np.ndarray:
        assert type(chosen["n"]) is int
        return np.full(NUM_QUESTIONS, (chosen["kind"] == "b") * 0.5 + chosen["n"] / 128)

    search(given, measure, Budget(40))
    best = found(given).best
    assert best is not None
    assert best.chosen["kind"] == "b"
    assert best.value is not None
    assert best.value > 0.5 + 32 / 128


def test_what_is_missing_is_added_and_ends_as_an_unbroken_search(tmp_path: Path) -> None:
    given = plan(tmp_path / "broken", pilot_share=0.5)
    first = searched(given, 5)
    assert len(first.trials) == 5
    more = Recorded()
    search(given, more, Budget(16))
    assert outline(found(given))[:5] == outline(first)
    assert outline(found(given)) == outline(searched(plan(tmp_path / "unbroken", pilot_share=0.5), 16))
    assert len({x for x, _, _ in more.calls}) == 11

    none = Recorded()
    search(given, none, Budget(16))
    assert none.calls == []


def test_another_seed_draws_other_trials(tmp_path: Path) -> None:
    one, other = (searched(plan(tmp_path / str(seed), seed=seed), 6) for seed in (0, 1))
    assert one.trials[0].chosen == other.trials[0].chosen
    drawn = [{trial.chosen["x"] for trial in of.trials[1:]} for of in (one, other)]
    assert len(drawn[0]) == len(drawn[1]) == 5
    assert drawn[0].isdisjoint(drawn[1])


def test_trials_end_after_a_pilot_in_the_lower_half_of_all_pilots_so_far(tmp_path: Path) -> None:
    recorded = Recorded()
    given = plan(tmp_path, start=0.01, pilot_share=0.5)  # the worst there is: the start is never stopped
    search(given, recorded, Budget(24))
    pilots: list[float] = []
    expected = []
    for x, share, value in recorded.calls:
        if share == 1.0:
            continue
        pilots.append(value)
        kept = sorted(pilots, reverse=True)[: max(1, len(pilots) // 2)]
        expected.append(Outcome.FINISHED if len(pilots) == 1 or value >= kept[-1] else Outcome.PRUNED)
        assert ((x, 1.0) in [call[:2] for call in recorded.calls]) == (expected[-1] is Outcome.FINISHED)
    of = found(given)
    assert [trial.outcome for trial in of.trials] == expected
    assert 0 < of.num(Outcome.PRUNED) < 24
    assert all(trial.value is None for trial in of.trials if trial.outcome is Outcome.PRUNED)


def test_a_trial_that_fails_counts_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    failures = iter([TrainingError("too large"), MemoryError("no room"), ZeroDivisionError("by 0")] * 20)
    raised = []

    def measure(chosen: Mapping[str, Plain], share: float) -> np.ndarray:
        assert isinstance(chosen["x"], float)
        if chosen["x"] > 5.0:
            raised.append(next(failures))
            raise raised[-1]
        return quality(chosen, share)

    given = plan(tmp_path)
    search(given, measure, Budget(20))
    of = found(given)
    assert len(of.trials) == 20
    assert [trial.reason for trial in of.trials if trial.outcome is Outcome.FAILED] == [
        f"{type(error).__name__}: {error}" for error in raised
    ]
    assert len(raised) > 2
    assert of.default is None
    assert of.gain is None
    assert of.best is not None
    assert all(trial.chosen["x"] > 5.0 for trial in of.trials if trial.outcome is Outcome.FAILED)  # type: ignore[operator]


@pytest.mark.parametrize(
    "error",
    [MissingExtraError("no such library"), StorageError("no room"), KeyboardInterrupt(), OSError("disk")],
)
def test_what_is_no_fault_of_the_settings_ends_the_search_and_frees_the_place(
    error: BaseException, tmp_path: Path
) -> None:
    given = plan(tmp_path)
    calls = 0

    def measure(chosen: Mapping[str, Plain], share: float) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls in (1, 4):
            raise error
        return quality(chosen, share)

    for num_ended in (0, 2):
        with pytest.raises(type(error)):
            search(given, measure, Budget(6))
        assert len(found(given).trials) == num_ended
    search(given, measure, Budget(6))
    assert outline(found(given)) == outline(searched(plan(tmp_path / "unbroken"), 6))


def test_a_budget_of_time_ends_a_search_too_but_never_before_its_start(tmp_path: Path) -> None:
    given = plan(tmp_path)
    search(given, quality, Budget(100, seconds=1e-9))
    assert [trial.place for trial in found(given).trials] == [0]
    search(given, quality, Budget(3, seconds=1e9))
    assert len(found(given).trials) == 3


def test_two_processes_share_one_budget(tmp_path: Path) -> None:
    both_began = PROCESSES.Barrier(2)
    children = [PROCESSES.Process(target=share_budget, args=(tmp_path, 20, both_began)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    of = found(plan(tmp_path))
    assert [trial.place for trial in of.trials] == list(range(20))
    assert {trial.outcome for trial in of.trials} == {Outcome.FINISHED}
    measured = [path.read_text().split() for path in tmp_path.glob("*.measured")]
    assert len(measured) == 2
    assert sorted(x for of_one in measured for x in of_one) == sorted(
        str(trial.chosen["x"]) for trial in of.trials
    )


# Of a search with pilots: in the pilot of the first trial, after it, and in the middle.
@pytest.mark.parametrize("calls_before", [0, 1, 6])
def test_a_killed_search_goes_on_as_if_it_had_not_been(calls_before: int, tmp_path: Path) -> None:
    killed(tmp_path, 12, calls_before)
    of = searched(plan(tmp_path, pilot_share=0.5), 12)
    assert outline(of) == outline(searched(plan(tmp_path / "unbroken", pilot_share=0.5), 12))


def test_settings_that_kill_two_processes_are_a_failed_trial(tmp_path: Path) -> None:
    for _ in range(2):
        killed(tmp_path, 12, 0)
    of = searched(plan(tmp_path, pilot_share=0.5), 12)
    assert [trial.place for trial in of.trials] == list(range(12))
    assert of.trials[0].reason == "its process was killed 2 times; out of memory?"
    assert of.trials[0].chosen == {"x": 50.0}
    assert {trial.outcome for trial in of.trials[1:]} <= {Outcome.FINISHED, Outcome.PRUNED}


def test_a_damaged_journal_is_said_to_be_one(tmp_path: Path) -> None:
    given = plan(tmp_path)
    searched(given, 2)
    with (tmp_path / JOURNAL_FILE).open("a") as file:
        file.write('{"op_code": 4, "half a line\n{}\n')
    with pytest.raises(ConfigError, match="expected a journal of trials: move it away"):
        search(given, quality, Budget(4))
