"""Which titles stand against each other: all, or those like the ones asked for and an unbiased sample."""

import numpy as np

from tests.retrieval.worlds import items_table
from towers.training.query_negatives import Scored

NUM = 400
TITLES = [f"Rocky {row}" if row < 10 else f"Title{row}" for row in range(NUM)]
CAST = [["Ada"] if row in (50, 51, 52) else None for row in range(NUM)]
ITEMS = items_table(NUM, title=TITLES, cast=CAST)


def test_of_few_titles_all_are_scored() -> None:
    row, added = Scored(ITEMS, NUM).draw(np.array([3, 3]), np.random.default_rng(0))
    assert row.tolist() == list(range(NUM))
    assert not added.any()


def test_what_shares_a_person_or_a_name_with_what_is_asked_for_stands_against_it() -> None:
    scored, rng = Scored(ITEMS, 5), np.random.default_rng(0)
    drawn = [set(scored.draw(np.array([50, 3]), rng)[0].tolist()) for _ in range(60)]
    assert all({50, 3} <= rows for rows in drawn)
    assert np.mean([bool(rows & {51, 52}) for rows in drawn]) > 0.5
    assert np.mean([bool(rows & set(range(10)) - {3}) for rows in drawn]) > 0.8


def test_the_sum_over_what_is_drawn_has_the_mean_of_the_sum_over_all() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=NUM)
    scored, target = Scored(ITEMS, 60), np.array([7, 50, 200])
    sums = []
    for _ in range(4000):
        row, added = scored.draw(target, rng)
        assert (np.diff(row) > 0).all()
        sums.append(np.exp(score[row] + added).sum())
    spread = np.std(sums) / len(sums) ** 0.5
    assert abs(np.mean(sums) - np.exp(score).sum()) < 4 * spread
