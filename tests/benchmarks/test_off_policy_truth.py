"""The study of off-policy values measures what it says: lists, watches and truths of a world made by hand."""

import numpy as np
import pytest

from benchmarks.studies.off_policy_truth import (
    LOGGING,
    NUM_PLACES,
    K,
    Question,
    Service,
    _lists,
    kendall,
    measure,
)

NUM_ITEMS = 40


def made(seed: int, num_profiles: int = 300) -> Service:
    """Titles wanted and shown alike: what is shown at the top is what is wanted."""
    rng = np.random.default_rng(seed)
    wanted = rng.beta(1.0, 4.0, (num_profiles, NUM_ITEMS))
    rank = 1 + np.argsort(np.argsort(-wanted, axis=1), axis=1)
    return Service(wanted, wanted**2, {"best": rank, "worst": NUM_ITEMS + 1 - rank})


def test_lists_hold_titles_once_and_begin_with_one_in_proportion_to_its_appeal() -> None:
    appeal = np.tile(np.r_[0.0, 4.0, 2.0, np.ones(NUM_ITEMS - 3)], (20_000, 1))
    shown = _lists(np.random.default_rng(0), appeal)
    assert shown.shape == (20_000, NUM_PLACES)
    assert all(len(set(row)) == NUM_PLACES for row in shown[:100].tolist())
    assert not (shown == 0).any()
    share = np.bincount(shown[:, 0], minlength=NUM_ITEMS) / 20_000
    np.testing.assert_allclose(share, appeal[0] / appeal[0].sum(), atol=0.006)


def test_weighed_values_are_near_the_truth_and_naive_ones_praise_the_policy_that_wrote_the_log() -> None:
    num_watches, valued = measure(made(0), 40, seed=0)
    for values in valued.values():
        assert set(values) == {"best", "worst", LOGGING}
        for each in values.values():
            # Some 10,000 watches: a few per cent.
            assert each.snips == pytest.approx(each.truth, rel=0.05, abs=0.003)
            assert each.ips == pytest.approx(each.display_truth, rel=0.07, abs=0.01)
    order = valued[Question.ORDER]
    assert order[LOGGING].naive > 1.2 * order[LOGGING].truth
    assert order["worst"].truth < order[LOGGING].truth < order["best"].truth
    assert order[LOGGING].naive > order["best"].naive
    assert num_watches > 5_000


def test_the_truth_of_its_own_titles_counts_what_is_never_shown() -> None:
    service = made(1)
    _, valued = measure(service, 2, seed=1)
    best = np.sort(service.wanted, axis=1)[:, -K:].sum() / len(service.wanted)
    choice = valued[Question.CHOICE]
    assert choice["best"].whole_truth == pytest.approx(best)
    assert choice["best"].display_truth < best
    # The logging policy's own titles are the first of its lists: all of them were shown.
    assert choice[LOGGING].whole_truth == pytest.approx(choice[LOGGING].display_truth)


def test_tau_counts_pairs_in_order() -> None:
    assert kendall([1, 2, 3], [10, 20, 30]) == 1.0
    assert kendall([1, 2, 3], [3, 2, 1]) == -1.0
    assert kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
