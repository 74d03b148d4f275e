"""Off-policy values against logs that were made with a known truth."""

import numpy as np
import pytest

from tests.towers.evaluation.questions import Scripted, questions
from towers.data.dataset import dataset_from_tables
from towers.data.sources.simulated import SimulatedSettings, simulate
from towers.data.split import SplitKind, SplitSettings, split
from towers.errors import ConfigError, QueryError
from towers.evaluation.evaluate import evaluate
from towers.evaluation.off_policy import (
    Gain,
    OffPolicySettings,
    evaluate_off_policy,
    examination,
    fit_eta,
    off_policy_value,
    target_positions,
)

NUM_DISPLAYS, NUM_PLACES, K = 2_000, 10, 3


def logged(seed: int, eta: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """A log of lists that were ranked by guess, and another recommender judged on it.

    Position and rank in the other's answer of every watch; and the truth: what is wanted among its first
    three, per display and as a share of all that is wanted.
    """
    rng = np.random.default_rng(seed)
    wanted = rng.beta(1.0, 3.0, (NUM_DISPLAYS, NUM_PLACES))
    noise = rng.normal(0.0, 0.2, (2, *wanted.shape))
    position = 1 + np.argsort(np.argsort(-(wanted + noise[0]), axis=1), axis=1)
    rank = 1 + np.argsort(np.argsort(-(0.3 * wanted + noise[1]), axis=1), axis=1)
    watched = rng.random(wanted.shape) < wanted * (1.0 / position) ** eta
    truth = float((wanted * (rank <= K)).sum())
    return position[watched], rank[watched], truth / NUM_DISPLAYS, truth / float(wanted.sum())


def test_weighing_removes_the_bias_that_places_put_into_the_log() -> None:
    ips, snips, naive = [], [], []
    for seed in range(40):
        position, rank, per_display, share = logged(seed, eta=1.0)
        found = off_policy_value(
            Gain.SHOWN.of(rank, K), examination(position, 1.0), num_displays=NUM_DISPLAYS
        )
        assert found.ips is not None
        ips.append(found.ips / per_display - 1)
        snips.append(found.snips / share - 1)
        naive.append(found.naive / share - 1)
    # One log of 2,000 displays errs by some 4 %; the mean over 40 logs by a sixth of that.
    assert abs(np.mean(ips)) < 0.02
    assert abs(np.mean(snips)) < 0.02
    assert abs(np.mean(ips)) < 3 * np.std(ips) / np.sqrt(40)
    assert np.mean(naive) > 0.05
    assert np.mean(np.array(naive) > 0) > 0.9


def test_a_wrong_eta_leaves_a_bias() -> None:
    wrong = []
    for seed in range(20):
        position, rank, per_display, _ = logged(seed, eta=1.0)
        found = off_policy_value(
            Gain.SHOWN.of(rank, K), examination(position, 0.5), num_displays=NUM_DISPLAYS
        )
        assert found.ips is not None
        wrong.append(found.ips / per_display - 1)
    assert np.mean(wrong) < -0.2


def test_where_all_places_are_examined_nothing_is_weighed() -> None:
    position, rank, *_ = logged(0, eta=0.0)
    found = off_policy_value(Gain.DISCOUNTED.of(rank, K), examination(position, 0.0))
    assert found.snips == pytest.approx(found.naive)
    assert found.effective_sample_size == pytest.approx(len(rank))
    assert found.ips is None


def test_the_table_worked_out_by_hand() -> None:
    # Weights 1, 2 and 10, the last cut to 5; 4 displays.
    found = off_policy_value(
        np.array([1.0, 0.0, 0.5]), np.array([1.0, 0.5, 0.1]), num_displays=4, max_weight=5.0
    )
    assert found.naive == pytest.approx(0.5)
    assert found.ips == pytest.approx((1 + 2.5) / 4)
    assert found.snips == pytest.approx((1 + 2.5) / 8)
    assert found.effective_sample_size == pytest.approx(64 / (1 + 4 + 25))
    assert (found.num_events, found.num_clipped) == (3, 1)


def test_gains_are_those_of_recall_and_dcg() -> None:
    rank = np.array([0, 1, 3, 4])
    assert Gain.SHOWN.of(rank, 3).tolist() == [0.0, 1.0, 1.0, 0.0]
    np.testing.assert_allclose(Gain.DISCOUNTED.of(rank, 3), [0.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0, 2.0])
def test_eta_is_recovered_from_places_watched_in_a_random_order(eta: float) -> None:
    chance = np.arange(1, 21) ** -eta
    position = np.random.default_rng(3).choice(np.arange(1, 21), 20_000, p=chance / chance.sum())
    assert fit_eta(position, 20) == pytest.approx(eta, abs=0.03)


def test_more_watches_further_down_are_no_negative_eta() -> None:
    assert fit_eta(np.full(10, 20), 20) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("position_bias", [0.5, 1.0])
def test_the_planted_bias_of_the_simulator_is_found_and_weighed_out(position_bias: float) -> None:
    # Few watches a profile: who has watched what stands first goes on to the next: that looks like less bias.
    settings = SimulatedSettings(
        num_events=40_000,
        num_profiles=8_000,
        num_items=2_000,
        row_share=0.4,
        position_bias=position_bias,
        accident_share=0.0,
    )
    column = simulate(settings).tables.events["position"].drop_null().to_numpy()
    position = column.astype(np.int64)
    assert fit_eta(position, 20) == pytest.approx(position_bias, abs=0.05)
    # The row is in random order: what it was wanted for is spread evenly over its twenty places.
    found = off_policy_value((position <= 3).astype(np.float64), examination(position, position_bias))
    assert found.snips == pytest.approx(3 / 20, abs=0.01)
    assert found.naive > 1.5 * 3 / 20


def test_the_place_of_every_target_is_that_of_its_event_in_the_log() -> None:
    tables = simulate(SimulatedSettings(num_events=4_000, num_items=200, row_share=0.4)).tables
    dataset = dataset_from_tables(tables)
    test = split(dataset, SplitSettings(SplitKind.GLOBAL_TIME)).test
    found = target_positions(test, dataset, tables.events)
    assert 0.2 < np.mean(found > 0) < 0.8
    place_of: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for event in tables.events.select(["profile_id", "item_id", "start", "position"]).to_pylist():
        when = event["start"].timestamp()
        place_of.setdefault((event["profile_id"], event["item_id"]), []).append(
            (when, event["position"] or 0)
        )
    for question, row in enumerate(test.profile_row):
        who = dataset.profile_table["profile_id"][int(row)].as_py()
        for target in range(test.target_offset[question], test.target_offset[question + 1]):
            what = dataset.items["item_id"][int(test.target_row[target])].as_py()
            later = [each for each in place_of[who, what] if int(each[0]) >= test.time_seconds[question]]
            assert found[target] == min(later)[1]


def test_an_evaluated_recommender_is_judged_by_the_targets_whose_place_is_known() -> None:
    held_out = questions([[], [0], [0, 1]], [[5], [6, 7], [8]])
    evaluation = evaluate(Scripted([[5, 9], [7, 6], [9, 8]]), held_out, num_items=10, ks=(2,))
    # Ranks 1; 2 and 1; 2. Places 1, unknown, 4, 2: weights 1, 4, 2 at eta 1.
    found = evaluate_off_policy(evaluation, np.array([1, 0, 4, 2]), 1, Gain.SHOWN)
    assert found.snips == pytest.approx(5 / 7)
    assert found.naive == pytest.approx(2 / 3)
    clipped = evaluate_off_policy(
        evaluation, np.array([1, 0, 4, 2]), 1, Gain.SHOWN, OffPolicySettings(max_weight=2.0)
    )
    assert clipped.snips == pytest.approx(3 / 5)
    with pytest.raises(QueryError, match="k = 3"):
        evaluate_off_policy(evaluation, np.array([1, 0, 4, 2]), 3, Gain.SHOWN)
    with pytest.raises(QueryError, match="3 positions"):
        evaluate_off_policy(evaluation, np.array([1, 0, 4]), 1, Gain.SHOWN)
    with pytest.raises(QueryError, match="0 gains"):
        evaluate_off_policy(evaluation, np.zeros(4, np.int64), 1, Gain.SHOWN)
    with pytest.raises(ConfigError, match=r"off_policy\.eta"):
        evaluate_off_policy(evaluation, np.ones(4, np.int64), 1, Gain.SHOWN, OffPolicySettings(eta=-1.0))


def test_what_is_no_log_of_places_is_refused() -> None:
    one = np.ones(1)
    with pytest.raises(QueryError, match="position 0"):
        examination(np.array([0, 1]), 1.0)
    with pytest.raises(QueryError, match="all from 1 to 3"):
        fit_eta(np.array([4]), 3)
    with pytest.raises(QueryError, match="0 positions"):
        fit_eta(np.zeros(0, np.int64), 3)
    for propensity in (0.0, 1.1, float("nan")):
        with pytest.raises(QueryError, match="outside 0 to 1"):
            off_policy_value(one, np.array([propensity]))
    with pytest.raises(QueryError, match=r"max_weight = 0\.5"):
        off_policy_value(one, one, max_weight=0.5)
    with pytest.raises(QueryError, match="num_displays = 0"):
        off_policy_value(one, one, num_displays=0)
