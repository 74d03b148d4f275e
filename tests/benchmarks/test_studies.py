"""The studies measure what they say: the model has the minimum of its loss, and a tenth is held out."""

import numpy as np

from benchmarks.studies.implicit_als import ALSSettings, fit_als
from benchmarks.studies.preference_weights import Log, _hold_out, _measure
from tests.towers.ladder.logs import watched
from towers.data.histories import Histories


def weighed(history: Histories, seed: int = 0) -> Histories:
    weight = np.random.default_rng(seed).uniform(0.1, 4.0, history.num_events).astype(np.float32)
    return Histories(history.offset, history.item_row, history.time_seconds, history.minutes, weight)


def loss(train: Histories, profile: np.ndarray, item: np.ndarray, settings: ALSSettings) -> float:
    """The docstring's, over every cell of the matrix."""
    weight = np.zeros((len(profile), len(item)))
    weight[train.profile_rows(), train.item_row] = train.weight
    error = (weight > 0) - profile @ item.T
    return float(
        np.sum((1 + settings.confidence * weight) * error**2)
        + settings.regularisation * (np.sum(profile**2) + np.sum(item**2))
    )


def test_no_step_from_the_factors_of_least_squares_lowers_their_loss() -> None:
    rng = np.random.default_rng(1)
    train = weighed(watched([rng.permutation(9)[:4].tolist() for _ in range(12)]))
    settings = ALSSettings(dim=3, confidence=2.0, regularisation=0.5, num_sweeps=300)
    profile, item = fit_als(train, 9, settings, seed=0)
    least = loss(train, profile, item, settings)
    for _ in range(50):
        step = 1e-3 * rng.normal(size=profile.shape), 1e-3 * rng.normal(size=item.shape)
        assert loss(train, profile + step[0], item + step[1], settings) > least


def test_a_tenth_of_each_profile_is_held_out_rounded_down_and_only_of_those_given() -> None:
    history = watched([list(range(25)), list(range(9)), [], list(range(10))])
    every = np.ones(history.num_events, dtype=bool)
    held_out = _hold_out(history, every, seed=0)
    assert np.bincount(history.profile_rows()[held_out], minlength=4).tolist() == [2, 0, 0, 1]
    again = _hold_out(history, ~held_out, seed=1)
    assert not np.any(held_out & again)
    assert np.bincount(history.profile_rows()[again], minlength=4).tolist() == [2, 0, 0, 0]


def test_tastes_in_blocks_are_found() -> None:
    rng = np.random.default_rng(2)
    profiles = [(20 * (row % 2) + rng.permutation(20)[:15]).tolist() for row in range(40)]
    quality = _measure(Log(weighed(watched(profiles)), 40), np.ones(600, np.float32), seed=0)
    assert np.isfinite(quality.ndcg).all()
    # 6 titles of the own block are left, one of them held out: by chance 0.495 where the block is known.
    assert quality.ndcg.mean() > 0.4
    np.testing.assert_array_equal(quality.weight > 0, quality.ndcg > 0)
