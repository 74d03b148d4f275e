"""Verdicts on made-up rungs whose quality and cost are known."""

import numpy as np
import pytest

from towers.errors import QueryError
from towers.ladder.verdict import Measured, PriceSettings, Spent, Verdict, judge, promoted

PRICES = PriceSettings(
    core_hour=0.1,
    gpu_hour=2.0,
    gib_month=4.0,
    fits_per_month=10.0,
    queries_per_month=3600.0,
    value_of_point=5.0,
)


def spent(*, core_seconds: float = 0.0, gpu_seconds: float = 0.0, p50: float = 0.0, size: int = 0) -> Spent:
    return Spent(core_seconds / 2, core_seconds, gpu_seconds, 0, size, p50, p50)


def rung(name: str, value: np.ndarray, cost: Spent | None = None) -> tuple[str, Measured]:
    return name, Measured(name, value, cost or spent())


def hits(share: float, num: int = 2000, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(num) < share).astype(np.float64)


def test_a_month_costs_fitting_answering_and_keeping() -> None:
    took = spent(core_seconds=7200.0, gpu_seconds=1800.0, p50=2.0, size=2**29)
    # 10 fits of 2 core hours and half a GPU hour, 2 core hours of answering, half a GiB.
    assert took.per_month(PRICES) == pytest.approx(10 * (2 * 0.1 + 0.5 * 2.0) + 2 * 0.1 + 0.5 * 4.0)


def test_a_better_rung_is_promoted_and_those_above_must_beat_it() -> None:
    judged = judge([rung("a", hits(0.1)), rung("b", hits(0.3, seed=1)), rung("c", hits(0.2, seed=2))], PRICES)
    assert [(each.verdict, each.below) for each in judged] == [
        (Verdict.FIRST, None),
        (Verdict.PROMOTED, "a"),
        (Verdict.NOT_BETTER, "b"),
    ]
    assert promoted(judged) == "b"
    assert judged[1].lead is not None
    assert judged[1].worth_per_month == pytest.approx(100 * judged[1].lead.difference * 5.0)


def test_a_better_rung_that_costs_more_than_it_is_worth_is_not_promoted() -> None:
    better = hits(0.3, seed=1)
    worth = 100 * (better.mean() - hits(0.1).mean()) * PRICES.value_of_point
    core_seconds = 3600 * worth / (PRICES.fits_per_month * PRICES.core_hour)
    for share, verdict in ((0.99, Verdict.PROMOTED), (1.01, Verdict.NOT_WORTH_ITS_PRICE)):
        dear = rung("b", better, spent(core_seconds=share * core_seconds))
        judged = judge([rung("a", hits(0.1)), dear], PRICES)
        assert judged[1].verdict is verdict
    assert promoted(judged) == "a"


def test_a_rung_that_failed_has_a_verdict_and_stands_in_nobodys_way() -> None:
    judged = judge([("a", None), rung("b", hits(0.1)), ("c", None), rung("d", hits(0.3, seed=1))], PRICES)
    assert [each.verdict for each in judged] == [
        Verdict.FAILED, Verdict.FIRST, Verdict.FAILED, Verdict.PROMOTED,
    ]  # fmt: skip
    assert judged[3].below == "b"
    assert promoted(judge([("a", None)], PRICES)) is None


def test_two_seeds_of_one_model_are_told_apart_no_oftener_than_one_time_in_twenty() -> None:
    rng = np.random.default_rng(3)
    num_promoted = 0
    for trial in range(300):
        ease = rng.beta(0.3, 2.0, size=600)  # some questions are easier than others, for both
        # And one seed is luckier than the other on all of them: their difference varies 1.3 times as much
        # as the choice of questions explains, as that of iALS does on MovieLens.
        luck = np.exp(0.06 * rng.normal(size=2))
        ranks = [rng.geometric(np.clip(ease * each, 1e-3, 1.0)) for each in luck]
        first, second = (np.where(rank <= 10, 1.0 / np.log2(rank + 1.0), 0.0) for rank in ranks)
        judged = judge([rung("a", first), rung("b", second)], PRICES, seed=trial)
        num_promoted += judged[1].verdict is Verdict.PROMOTED
    assert num_promoted <= 15


def test_rungs_of_other_questions_are_refused() -> None:
    with pytest.raises(QueryError, match="b answered 3 questions, a 4"):
        judge([rung("a", np.zeros(4)), rung("b", np.zeros(3))], PRICES)
