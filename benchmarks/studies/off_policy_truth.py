"""Off-policy values beside the truth: python -m benchmarks.studies.off_policy_truth.

A simulated service shows lists of twenty titles, drawn by popularity and the more popular the higher. A place
is examined in proportion to 1/j, and a title that is examined is watched where it is wanted; how much each
profile wants each title is the simulator's own truth (`World.choice_probability`). From the watches and their
places, recommenders that did not write the log are valued, and the truth is known to the last digit.

Two questions are asked of each: how well it puts the titles of a list in order, where all that is valued was
shown; and how much of what is wanted its own ten titles hold, of which the log shows little.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int64
from rich.console import Console
from rich.progress import track

from towers.data.dataset import dataset_from_tables
from towers.data.simulator.calendar import LOG_START_MS, WEEK_MS
from towers.data.simulator.settings import SimulatedSettings
from towers.data.sources.simulated import simulate
from towers.data.split import num_before
from towers.evaluation.off_policy import Gain, examination, off_policy_value
from towers.ladder.heuristics import fit_popular
from towers.ladder.markov import fit_markov
from towers.ladder.neighbours import fit_item_knn
from towers.recommender import PAD, Queries, Recommender

ETA = 1.0
NUM_PLACES = 20
K = 10
WANTED_PER_DISPLAY = 1.0
SERVICE = SimulatedSettings(num_events=30_000, num_profiles=600, num_items=800, accident_share=0.0)
ASKED_MS = LOG_START_MS + 80 * WEEK_MS
LOGGING, RANDOM = "logging policy", "random"


class Question(StrEnum):
    """What a recommender is valued for."""

    ORDER = "order of what was shown"
    """DCG of its order of the twenty titles shown."""
    CHOICE = f"its own {K} titles"
    """How many wanted titles it shows, of the whole catalogue."""


@dataclass(frozen=True, slots=True)
class Service:
    """P profiles at one moment.

    wanted: float64 (P, N), the chance that a title is watched once examined; 0 where watched before or not on
    offer. appeal: float64 (P, N), what the lists are drawn by; 0 there too.
    place: recommender → int64 (P, N), the rank of each title in its answer, from 1; beyond all where it is
    not in it.
    """

    wanted: Float64[np.ndarray, "P N"]
    appeal: Float64[np.ndarray, "P N"]
    place: Mapping[str, Int64[np.ndarray, "P N"]]


@dataclass(frozen=True, slots=True)
class Values:
    """What one recommender is worth, by each estimator and in truth.

    naive, snips: per watch; truth: the same where every place is examined alike, of what was shown.
    ips, display_truth: per display. whole_truth: per display, of what is wanted whether it was shown or not.
    """

    naive: float
    snips: float
    truth: float
    ips: float
    display_truth: float
    whole_truth: float


def main() -> None:
    """Prints a table per question and size of the log."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.off_policy_truth")
    parser.add_argument("--seeds", type=int, default=20, help="simulated services")
    parser.add_argument("--displays", type=int, nargs="+", default=[2, 40], help="lists shown per profile")
    given = parser.parse_args()
    console = Console(stderr=True)
    found: dict[tuple[Question, int], list[Mapping[str, Values]]] = {}
    num_watches: dict[int, list[int]] = {}
    for seed in track(range(given.seeds), "measuring", console=console, disable=not console.is_terminal):
        service = _service(seed)
        for displays in given.displays:
            counted, valued = measure(service, displays, seed)
            num_watches.setdefault(displays, []).append(counted)
            for question, values in valued.items():
                found.setdefault((question, displays), []).append(values)
    for question, displays in sorted(found, key=lambda each: list(Question).index(each[0])):
        watches = float(np.mean(num_watches[displays]))
        print(
            f"\n{question.value}: {displays} lists per profile, {watches:,.0f} watches in the mean of "
            f"{given.seeds} services\n"
        )
        print("\n".join(_table(found[question, displays], question)))


def measure(
    service: Service, displays: int, seed: int
) -> tuple[int, Mapping[Question, Mapping[str, Values]]]:
    """Draws `displays` lists per profile and their watches; the number of watches, and all values."""
    rng = np.random.default_rng([seed, displays])
    profile = np.tile(np.arange(len(service.wanted)), displays)
    shown = np.concatenate([_lists(rng, service.appeal) for _ in range(displays)])
    line = profile[:, None]
    wanted = service.wanted[line, shown]
    theta = examination(np.arange(1, NUM_PLACES + 1), ETA)
    watched = (rng.random(shown.shape) < theta) & (rng.random(shown.shape) < wanted)
    logged = np.broadcast_to(np.arange(1, NUM_PLACES + 1), shown.shape)
    valued: dict[Question, dict[str, Values]] = {question: {} for question in Question}
    for name in (*service.place, LOGGING):
        place = logged if name == LOGGING else service.place[name][line, shown]
        order = 1 + np.argsort(np.argsort(place, axis=1, kind="stable"), axis=1, kind="stable")
        gain = Gain.DISCOUNTED.of(order.ravel(), NUM_PLACES).reshape(order.shape)
        valued[Question.ORDER][name] = _values(gain, wanted, watched, theta, whole=None)
        if name == LOGGING:
            whole = float((wanted * (logged <= K)).sum()) / len(shown)
        else:
            whole = float((service.wanted * (service.place[name] <= K)).sum()) / len(service.wanted)
        gain = Gain.SHOWN.of(place.ravel(), K).reshape(place.shape)
        valued[Question.CHOICE][name] = _values(gain, wanted, watched, theta, whole=whole)
    return int(watched.sum()), valued


def _values(
    gain: Float64[np.ndarray, "D J"],
    wanted: Float64[np.ndarray, "D J"],
    watched: np.ndarray,
    theta: Float64[np.ndarray, " J"],
    *,
    whole: float | None,
) -> Values:
    propensity = np.broadcast_to(theta, gain.shape)
    found = off_policy_value(gain[watched], propensity[watched], num_displays=len(gain))
    assert found.ips is not None  # the displays are known
    worth = float((wanted * gain).sum())
    per_display = worth / len(gain)
    return Values(
        naive=found.naive,
        snips=found.snips,
        truth=worth / float(wanted.sum()),
        ips=found.ips,
        display_truth=per_display,
        whole_truth=per_display if whole is None else whole,
    )


def _service(seed: int) -> Service:
    """A service, what its profiles want, and recommenders that learned from what was watched before."""
    world = simulate(replace(SERVICE, seed=seed))
    dataset = dataset_from_tables(world.tables)
    history = dataset.history
    train = history.first(num_before(history, ASKED_MS // 1000))
    num_items = len(dataset.catalogue)
    wanted = np.stack([world.choice_probability(row, ASKED_MS) for row in range(len(train))])
    wanted[train.profile_rows(), train.item_row] = 0.0
    # Small children are left with too few titles to fill a list.
    asked = np.flatnonzero(np.count_nonzero(wanted, axis=1) >= NUM_PLACES)
    wanted = wanted[asked]
    may = wanted > 0
    popularity = np.bincount(train.item_row, minlength=num_items) + 1.0
    appeal = np.where(may, popularity, 0.0)
    # In the mean list so many titles are wanted; nothing is wanted by more than all.
    listed = (wanted * appeal).sum(axis=1) / appeal.sum(axis=1)
    scale = WANTED_PER_DISPLAY / (NUM_PLACES * float(listed.mean()))
    now = np.full(len(train), ASKED_MS // 1000)
    queries = Queries(train, now, dataset.country, dataset.profile_table).select(asked)
    rungs: dict[str, Recommender] = {
        "popular": fit_popular(train, num_items),
        "item_knn": fit_item_knn(train, num_items),
        "markov": fit_markov(train, num_items),
    }
    place = {name: _places(rung, queries, num_items) for name, rung in rungs.items()}
    chance = np.where(may, np.random.default_rng(seed).random(wanted.shape), 1.0)
    place[RANDOM] = 1 + np.argsort(np.argsort(chance, axis=1), axis=1)
    return Service(np.minimum(scale * wanted, 1.0), appeal, place)


def _places(rung: Recommender, queries: Queries, num_items: int) -> Int64[np.ndarray, "P N"]:
    item_row = rung.rank(queries, num_items).item_row
    place = np.full((len(queries), num_items + 1), num_items + 1)  # the last is that of PAD
    np.put_along_axis(
        place, np.where(item_row == PAD, num_items, item_row), np.arange(1, num_items + 1)[None], axis=1
    )
    return place[:, :num_items]


def _lists(rng: np.random.Generator, appeal: Float64[np.ndarray, "P N"]) -> Int64[np.ndarray, "P J"]:
    """A list per profile: titles drawn one after the other in proportion to appeal (Plackett and Luce)."""
    with np.errstate(divide="ignore"):
        score = np.log(appeal) + rng.gumbel(size=appeal.shape)
    best = np.argpartition(-score, NUM_PLACES, axis=1)[:, :NUM_PLACES]
    order = np.argsort(-np.take_along_axis(score, best, axis=1), axis=1)
    listed: np.ndarray = np.take_along_axis(best, order, axis=1)
    return listed


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """τ: the share of pairs in the same order less that of pairs in the other."""
    signs = [
        np.sign(first[i] - first[j]) * np.sign(second[i] - second[j])
        for i, j in combinations(range(len(first)), 2)
    ]
    return float(np.mean(signs))


def _table(runs: Sequence[Mapping[str, Values]], question: Question) -> list[str]:
    """Rows of one question: means over the services, and the errors of each estimator."""
    lines = [
        "| | truth | naive | SNIPS | naive errs by | SNIPS errs by | IPS errs by | wanted, per list |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in runs[0]:
        each = [run[name] for run in runs]
        means = [np.mean([getattr(one, part) for one in each]) for part in ("truth", "naive", "snips")]
        errors = [_error(_errors(each, estimator)) for estimator in _TRUTH]
        whole = f"{np.mean([one.whole_truth for one in each]):.3f}" if question is Question.CHOICE else ""
        lines.append(f"| {name} | {' | '.join([*(f'{mean:.4f}' for mean in means), *errors, whole])} |")
    lines += ["", "errors: mean over the services, and in brackets the root of the mean square", ""]
    for estimator, truth in _TRUTH.items():
        lines.append(f"order by {estimator} against the truth: {_agreement(runs, estimator, truth)}")
        if question is Question.CHOICE:
            lines.append(
                f"order by {estimator} against all that is wanted: "
                f"{_agreement(runs, estimator, 'whole_truth')}"
            )
    closer = [
        np.abs(_errors(each, "snips")) < np.abs(_errors(each, "naive"))
        for each in ([run[name] for run in runs] for name in runs[0])
    ]
    lines.append(f"SNIPS is closer than naive in {np.sum(closer)} of {np.size(closer)} values")
    return lines


_TRUTH = {"naive": "truth", "snips": "truth", "ips": "display_truth"}
"""What each estimator estimates."""


def _errors(each: Sequence[Values], estimator: str) -> Float64[np.ndarray, " S"]:
    """The relative error in each service."""
    return np.array([getattr(one, estimator) / getattr(one, _TRUTH[estimator]) - 1.0 for one in each])


def _error(errors: Float64[np.ndarray, " S"]) -> str:
    return f"{errors.mean():+.1%} ({np.sqrt(np.mean(errors**2)):.1%})"


def _agreement(runs: Sequence[Mapping[str, Values]], estimator: str, truth: str) -> str:
    taus = [
        kendall(
            [getattr(value, estimator) for value in run.values()],
            [getattr(value, truth) for value in run.values()],
        )
        for run in runs
    ]
    return f"τ = {np.mean(taus):.2f}, right in {sum(tau == 1.0 for tau in taus)} of {len(taus)} services"


if __name__ == "__main__":
    main()
