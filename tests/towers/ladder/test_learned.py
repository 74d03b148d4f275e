"""Logistic regression and boosted trees over candidates, in worlds with a planted answer."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.worlds import block_of, block_world
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import HeldOut, Split, SplitKind, SplitSettings, split
from towers.errors import ConfigError, MissingExtraError, TrainingError
from towers.evaluation.evaluate import evaluate
from towers.ladder.candidates import Feature
from towers.ladder.examples import ExampleSettings
from towers.ladder.heuristics import fit_popular
from towers.ladder.linear import Linear, LinearObjective, LinearSettings, fit_linear
from towers.ladder.logistic import LogisticSettings, fit_conditional
from towers.ladder.trees import TreeObjective, Trees, TreeSettings, fit_trees
from towers.recommender import Queries, Recommender

NO_QUESTIONS = TreeSettings(examples=ExampleSettings(num_questions=0))
NO_WEIGHT = LinearSettings(logistic=LogisticSettings(inverse_penalty=0.0))
IMPATIENT = LogisticSettings(max_iterations=1)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return dataset_from_tables(block_world(4, 12, 20, 8, seed=1))


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, SplitSettings())


@pytest.fixture(scope="module")
def linear(dataset: Dataset, parts: Split) -> Linear:
    return fit_linear(parts.train, dataset.items, dataset.country)


@pytest.fixture(scope="module")
def trees(dataset: Dataset, parts: Split) -> Trees:
    return fit_trees(parts.train, dataset.items, dataset.country)


def asked_of(held: HeldOut) -> Queries:
    return Queries(held.history, held.time_seconds, held.country, held.profiles)


def recall_at_5(rung: Recommender, held: HeldOut) -> float:
    return evaluate(rung, held, num_items=48, ks=(5,)).means["recall@5"] or 0.0


def test_titles_of_the_own_block_rank_above_all_others(linear: Linear, trees: Trees, parts: Split) -> None:
    # Each profile has watched 7 of the 12 titles of its block; all 5 others must come first.
    for rung in (linear, trees):
        row = rung.rank(asked_of(parts.test), 5).item_row
        assert np.all(block_of(row, 4) == block_of(parts.test.profile_row, 4)[:, None])
        assert recall_at_5(rung, parts.test) == 1.0
    assert recall_at_5(fit_popular(parts.train, 48), parts.test) < 0.6


@pytest.mark.parametrize("objective", TreeObjective)
@pytest.mark.parametrize("kind", SplitKind)
def test_every_objective_learns_from_both_kinds_of_examples(
    dataset: Dataset, parts: Split, objective: TreeObjective, kind: SplitKind
) -> None:
    settings = TreeSettings(objective=objective, num_trees=20, examples=ExampleSettings(kind=kind))
    trees = fit_trees(parts.train, dataset.items, dataset.country, settings)
    assert recall_at_5(trees, parts.test) > 0.9


def test_what_is_held_out_is_never_read(dataset: Dataset, parts: Split, linear: Linear, trees: Trees) -> None:
    """Train alone is given, so a log whose held-out events are others gives the same rungs, to the bit."""
    changed = replace(dataset.history, item_row=dataset.history.item_row.copy())
    for held in (1, 2):
        changed.item_row[changed.offset[1:] - held] = (np.arange(80) % 4)[::-1] + 4 * held
    other = split(replace(dataset, history=changed), SplitSettings())
    assert not np.array_equal(other.test.target_row, parts.test.target_row)
    again = fit_linear(other.train, dataset.items, dataset.country)
    np.testing.assert_array_equal(again.log_odds.weight, linear.log_odds.weight)
    grown = fit_trees(other.train, dataset.items, dataset.country)
    assert grown.booster.model_to_string() == trees.booster.model_to_string()


@pytest.mark.parametrize("objective", TreeObjective)
def test_trees_are_the_same_on_any_number_of_threads(
    dataset: Dataset, parts: Split, objective: TreeObjective
) -> None:
    one, two = (
        fit_trees(
            parts.train,
            dataset.items,
            dataset.country,
            TreeSettings(objective=objective, num_threads=num_threads),
        )
        for num_threads in (1, 2)
    )
    found, expected = one.rank(asked_of(parts.test), 20), two.rank(asked_of(parts.test), 20)
    np.testing.assert_array_equal(found.item_row, expected.item_row)
    np.testing.assert_array_equal(found.score, expected.score)


def test_the_linear_score_is_the_log_odds_of_one_weight_per_feature(linear: Linear, parts: Split) -> None:
    queries = asked_of(parts.test).select(np.arange(3))
    candidates = linear.source.of(queries)
    rankings = linear.rank(queries, 48)
    for query, item, features in zip(candidates.query, candidates.item_row, candidates.features, strict=True):
        known = [
            linear.log_odds.missing[place] if np.isnan(value) else value
            for place, value in enumerate(features)
        ]
        expected = (
            sum(w * x for w, x in zip(linear.log_odds.weight, known, strict=True)) + linear.log_odds.bias
        )
        place = np.flatnonzero(rankings.item_row[query] == item)[0]
        assert rankings.score[query, place] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_weight_of_what_foretells_the_block_is_positive(linear: Linear) -> None:
    weight = dict(zip(Feature, linear.log_odds.weight.tolist(), strict=True))
    assert weight[Feature.GENRE_OVERLAP] > 0.0
    # All titles of this world are of the same year: nothing can be learned from it.
    assert weight[Feature.COUNTRY_POPULARITY] == pytest.approx(weight[Feature.POPULARITY], rel=1e-3)


@pytest.mark.parametrize("objective", LinearObjective)
def test_a_regression_that_does_not_converge_is_refused(
    dataset: Dataset, parts: Split, objective: LinearObjective
) -> None:
    settings = LinearSettings(objective=objective, logistic=IMPATIENT)
    with pytest.raises(TrainingError, match="no convergence in 1 iterations"):
        fit_linear(parts.train, dataset.items, dataset.country, settings)


@pytest.mark.parametrize("kind", SplitKind)
def test_the_linear_softmax_learns_from_both_kinds_of_examples(
    dataset: Dataset, parts: Split, kind: SplitKind
) -> None:
    settings = LinearSettings(objective=LinearObjective.SOFTMAX, examples=ExampleSettings(kind=kind))
    linear = fit_linear(parts.train, dataset.items, dataset.country, settings)
    assert recall_at_5(linear, parts.test) > 0.9
    # The same for all candidates of a question, so no choice speaks for it.
    weight = dict(zip(Feature, linear.log_odds.weight.tolist(), strict=True))
    assert weight[Feature.HISTORY_LENGTH] == pytest.approx(0.0, abs=1e-6)


def test_a_choice_between_two_is_a_logistic_regression_of_what_differs() -> None:
    """One watched of two candidates: the likelihood is that of a regression without a bias on differences."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(2)
    pairs = rng.normal(size=(300, 2, 3)) * np.array([1.0, 5.0, 0.1]) + 7.0
    chosen = (pairs @ np.array([1.0, -0.2, 3.0])).argmax(axis=1) ^ (rng.random(300) < 0.2)
    answers = np.arange(2) == chosen[:, None]
    pairs[0, 0, 2] = np.nan
    found = fit_conditional(
        pairs.reshape(600, 3),
        answers.ravel(),
        np.full(300, 2),
        LogisticSettings(inverse_penalty=0.3),
        "linear",
    )
    known = np.where(np.isnan(pairs), np.nanmean(pairs, axis=(0, 1)), pairs)
    scale = known.std(axis=(0, 1))
    difference = (known[:, 1] - known[:, 0]) / scale
    regression = linear_model.LogisticRegression(C=0.3, fit_intercept=False, tol=1e-8).fit(difference, chosen)
    np.testing.assert_allclose(found.weight * scale, regression.coef_[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.missing, np.nanmean(pairs, axis=(0, 1)))
    with pytest.raises(TrainingError, match="none of 600 examples is an answer"):
        fit_conditional(pairs.reshape(600, 3), np.zeros(600, bool), np.full(300, 2), IMPATIENT, "linear")


def test_a_setting_out_of_range_is_refused_with_its_key(dataset: Dataset, parts: Split) -> None:
    with pytest.raises(ConfigError, match=r"linear\.logistic\.inverse_penalty"):
        fit_linear(parts.train, dataset.items, dataset.country, NO_WEIGHT)
    with pytest.raises(ConfigError, match=r"trees\.examples\.num_questions"):
        fit_trees(parts.train, dataset.items, dataset.country, NO_QUESTIONS)


def test_a_library_that_is_not_installed_is_named_with_its_extra(
    dataset: Dataset, parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtraError, match=r"lightgbm is not installed; expected the extra `ladder`"):
        fit_trees(parts.train, dataset.items, dataset.country)
