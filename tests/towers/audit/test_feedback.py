"""The filter-bubble audit: learners that are known to narrow, and some that are known not to."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from towers.audit.feedback import (
    CycleFigures,
    FeedbackRun,
    FeedbackSettings,
    Learner,
    check_feedback,
    live_through,
)
from towers.audit.feedback_learners import rung_learner
from towers.audit.feedback_report import FeedbackAudit, FeedbackFinding, judged, values_of
from towers.audit.feedback_viewers import Shown, Viewers
from towers.data.dataset import Dataset
from towers.data.simulator.world import World
from towers.data.sources.simulated import SimulatedSettings, simulate
from towers.errors import ConfigError
from towers.ladder.heuristics import fit_popular
from towers.ladder.rungs import RungName, RungSettings
from towers.recommender import PAD, Queries, Rankings

WORLD = SimulatedSettings(num_events=5000, num_profiles=100, num_items=200, seed=3)
SETTINGS = FeedbackSettings(
    world=WORLD, num_cycles=4, num_seeds=4, k=5, min_profiles=5, level=0.8, tolerance=0.1
)


class ByScore:
    """A Recommender that ranks by a score of every title, best first."""

    def __init__(self, score: Callable[[Queries], np.ndarray]) -> None:
        self.score = score

    def rank(self, queries: Queries, k: int) -> Rankings:
        score = self.score(queries)
        order = np.argsort(-score, axis=1, kind="stable")[:, :k]
        return Rankings(order, np.take_along_axis(score, order, axis=1).astype(np.float32))


def popular(world: World) -> Learner:
    return lambda dataset, _: fit_popular(dataset.history, len(world.catalogue))


def oracle(world: World) -> Learner:
    def score(queries: Queries) -> np.ndarray:
        assert queries.profiles is not None
        rows = np.array([int(each[1:]) for each in queries.profiles["profile_id"].to_pylist()])
        return world.affinity(rows, queries.time_seconds * 1000)

    return lambda dataset, _: ByScore(score)


def by_chance(world: World) -> Learner:
    rng = np.random.default_rng(world.settings.seed)
    return lambda dataset, _: ByScore(lambda queries: rng.random((len(queries), len(world.catalogue))))


def finding_of(audit: FeedbackAudit, figure: str) -> FeedbackFinding:
    return next(each.finding for each in audit.effects if each.figure == figure)


@pytest.fixture(scope="module")
def lived() -> list[tuple[World, FeedbackRun]]:
    """Worlds, and what a learner that shows the most popular alone does in them."""
    seeds = range(WORLD.seed, WORLD.seed + SETTINGS.num_seeds)
    worlds = [simulate(replace(WORLD, seed=seed), 1) for seed in seeds]
    return [(world, live_through(world, popular(world), SETTINGS)) for world in worlds]


def test_showing_the_most_popular_alone_narrows_and_is_named(lived: list[tuple[World, FeedbackRun]]) -> None:
    audit = judged(SETTINGS, tuple(run for _, run in lived))
    assert audit.finding is FeedbackFinding.NARROWS
    assert finding_of(audit, "watched_gini") is FeedbackFinding.NARROWS
    assert finding_of(audit, "watched_coverage") is FeedbackFinding.NARROWS
    assert "Gini of watches, titles watched" in audit.reason
    # Before anything is shown both arms are one; after it the Gini index rises and coverage falls.
    assert all(run.model[0] == run.control[0] for run in audit.runs)
    gini, coverage = (
        np.mean([values_of(run.model, figure) for run in audit.runs], axis=0)
        for figure in ("watched_gini", "watched_coverage")
    )
    assert (gini[1:] > gini[0]).all()
    assert (coverage[1:] < coverage[0]).all()


@pytest.mark.parametrize("learner", [oracle, by_chance])
def test_showing_by_the_truth_or_by_chance_is_not_said_to_narrow_the_catalogue(
    learner: Callable[[World], Learner], lived: list[tuple[World, FeedbackRun]]
) -> None:
    runs = [live_through(world, learner(world), SETTINGS, run.control) for world, run in lived]
    audit = judged(SETTINGS, tuple(runs))
    assert finding_of(audit, "watched_gini") is FeedbackFinding.DOES_NOT
    assert finding_of(audit, "watched_coverage") is FeedbackFinding.DOES_NOT
    assert audit.finding is not FeedbackFinding.NARROWS


def test_an_oracle_has_the_best_quality_and_is_as_good_to_every_segment(
    lived: list[tuple[World, FeedbackRun]],
) -> None:
    world, other = lived[0]
    run = live_through(world, oracle(world), SETTINGS, other.control)
    for cycle in run.model[1:]:
        assert cycle.quality == pytest.approx(1.0)
        assert cycle.worst_over_best == pytest.approx(1.0)


def test_the_arms_have_as_many_watches_at_the_same_moments_by_the_same_profiles() -> None:
    world = simulate(WORLD, 1)
    lengths: dict[int, list[int]] = {}

    def learn(dataset: Dataset, end_seconds: int) -> ByScore:
        assert dataset.history.time_seconds.max() < end_seconds
        kept = dataset.history.num_events + dataset.repeats.num_events
        lengths.setdefault(end_seconds, []).append(kept)
        return ByScore(lambda queries: np.zeros((len(queries), len(world.catalogue))))

    before = world.watches.copy()
    run = live_through(world, learn, replace(SETTINGS, num_cycles=2))
    assert run.model[0] == run.control[0]
    assert np.array_equal(world.watches, before)  # the world stays as it was
    own = world.watches["start_ms"]
    for end_seconds, (kept,) in lengths.items():
        num = int((own < end_seconds * 1000).sum())
        assert 0.8 * num < kept <= num  # all but the accidents


def test_what_is_shown_may_be_watched_and_was_not() -> None:
    world = simulate(WORLD, 1)
    viewers = Viewers(world, 1.0)
    rows, moment = np.arange(30), np.full(30, int(world.watches["start_ms"][-1]))
    watched = np.random.default_rng(0).random((30, len(world.catalogue))) < 0.5
    ranking = np.tile(np.arange(len(world.catalogue)), (30, 1))
    shown = viewers.show(ranking, rows, moment, watched, 10)
    for line, row in enumerate(rows.tolist()):
        offered = world.on_offer(int(moment[line]), int(world.audience.country[row]))
        offered &= world.catalogue.maturity <= world.audience.cap[row]
        expected = np.flatnonzero(offered & ~watched[line])[:10]
        assert shown.item_row[line, : len(expected)].tolist() == expected.tolist()
        assert (shown.item_row[line, len(expected) :] == PAD).all()
        liked = world.affinity(rows[[line]], int(moment[line]))[0]
        assert shown.liking[line, : len(expected)] == pytest.approx(liked[expected])


def test_titles_are_taken_by_liking_and_place() -> None:
    liking = np.array([[0.0, 1.0, 0.5, 0.0]])
    row = np.array([[7, 8, 9, PAD]])
    num = 20_000
    rows, liked = (np.tile(each, (num, 1)) for each in (row, liking))
    many = Shown(np.arange(num), np.zeros(num, np.int64), rows, liked, np.ones(num))
    viewers = Viewers(simulate(replace(WORLD, num_events=200, num_profiles=20), 1), 1.0)
    line, place = viewers.take(np.random.default_rng(0), many, np.ones(num, np.int64))
    assert line.tolist() == list(range(num))
    weight = np.exp(liking[0, :3]) / np.array([1.0, 2.0, 3.0])
    assert np.bincount(place, minlength=4)[:3] / num == pytest.approx(weight / weight.sum(), abs=0.02)
    line, place = viewers.take(np.random.default_rng(0), many, np.full(num, 9))
    assert np.bincount(line).tolist() == [3] * num  # no more than there are, and none twice
    assert (np.sort(place.reshape(num, 3), axis=1) == [0, 1, 2]).all()


def planted(seed: int, narrower: float, noise: float) -> FeedbackRun:
    """A run whose model arm is by so much narrower from the second cycle on, in every figure."""
    rng = np.random.default_rng(seed)
    control = tuple(CycleFigures(0.5, 0.6, 3.0) for _ in range(5))
    model = tuple(
        CycleFigures(0.5 * (1 + by), 0.6 * (1 - by), 3.0 * (1 - by))
        for by in np.array([0.0, 0.0, narrower, narrower, narrower]) + noise * rng.normal(size=5)
    )
    return FeedbackRun(seed, model, control)


@pytest.mark.parametrize(
    ("narrower", "noise", "num", "finding"),
    [
        (0.2, 0.01, 5, FeedbackFinding.NARROWS),
        (0.05, 0.001, 5, FeedbackFinding.DOES_NOT),  # beyond doubt, and within the tolerance
        (0.0, 0.001, 5, FeedbackFinding.DOES_NOT),
        (-0.2, 0.01, 5, FeedbackFinding.DOES_NOT),
        (0.12, 0.4, 3, FeedbackFinding.UNKNOWN),
        (0.2, 0.0, 1, FeedbackFinding.UNKNOWN),
    ],
)
def test_a_planted_narrowing_is_found(
    narrower: float, noise: float, num: int, finding: FeedbackFinding
) -> None:
    audit = judged(SETTINGS, tuple(planted(seed, narrower, noise) for seed in range(num)))
    assert audit.finding is finding
    assert all(abs(each.narrowing - narrower) < 3 * noise + 1e-9 for each in audit.effects)
    genres = next(each for each in audit.effects if each.figure == "watched_genres")
    assert (
        abs(genres.trend - narrower / 2) < 3 * noise + 1e-9
    )  # the first half holds the cycle before it came


def test_who_knows_a_taste_at_once_or_shows_more_than_the_control_is_no_bubble() -> None:
    def genres(values: list[float]) -> tuple[FeedbackRun, ...]:
        control, model = ([CycleFigures(0.5, 0.6, each) for each in line] for line in ([3.0] * 5, values))
        return tuple(FeedbackRun(seed, tuple(model), tuple(control)) for seed in range(3))

    for values in ([3.0, 2.0, 2.0, 2.0, 2.0], [3.0, 6.0, 5.0, 4.0, 4.0]):
        assert finding_of(judged(SETTINGS, genres(values)), "watched_genres") is FeedbackFinding.DOES_NOT
    falling = genres([3.0, 3.0, 2.5, 2.0, 2.0])
    assert finding_of(judged(SETTINGS, falling), "watched_genres") is FeedbackFinding.NARROWS


def test_more_cycles_than_the_log_has_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"feedback\.num_cycles: 24 of 28 days.*expected at most 23"):
        check_feedback(replace(SETTINGS, num_cycles=24))
    with pytest.raises(ConfigError, match=r"feedback\.rung: towers_fusion; expected a rung"):
        check_feedback(replace(SETTINGS, rung=RungName.TOWERS_FUSION))


def test_a_rung_learns_all_that_came_before(lived: list[tuple[World, FeedbackRun]]) -> None:
    world, run = lived[0]
    settings = replace(SETTINGS, rung=RungName.POPULAR)
    learner = rung_learner(settings, RungSettings(), 0)
    assert live_through(world, learner, settings, run.control) == run
