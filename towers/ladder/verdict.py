"""What a rung costs a month, and whether it earns its place above the one below."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError
from towers.evaluation.bootstrap import Interval, paired_bootstrap
from towers.settings import bounded

_GIB = 2**30

LEVEL = 0.99
"""Of the interval by which a rung is promoted.

It covers the choice of questions alone, and two seeds of one model differ by about as much again as that
choice explains: at 95 % more than one seed of twenty was promoted over another of its own model, at 99 %
fewer than that (`make bench CLAIM=climb`).
"""
_NUM_RESAMPLES = 10_000


class Verdict(StrEnum):
    """What becomes of a rung that was compared with the last one promoted."""

    FIRST = "first"
    """Nothing stands below it."""
    PROMOTED = "promoted"
    """Better with confidence, and worth its price: the rungs above must beat this one."""
    NOT_BETTER = "not better"
    """The interval of its lead holds zero, or lies below."""
    NOT_WORTH_ITS_PRICE = "better, but not worth its price"
    """Better with confidence; what it gains is worth less than what it costs more."""
    FAILED = "failed"
    """It could not be measured."""


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """What things cost, and what quality is worth, in one currency.

    core_hour, gpu_hour: of computing. gib_month: of a GiB of what serves, held in memory.
    fits_per_month: how often a model is fitted anew. queries_per_month: how many are answered.
    value_of_point: what a hundredth of N@10 is worth a month.
    """

    core_hour: float = bounded(0.04, ge=0.0)
    gpu_hour: float = bounded(2.5, ge=0.0)
    gib_month: float = bounded(3.0, ge=0.0)
    fits_per_month: float = bounded(30.0, ge=0.0)
    queries_per_month: float = bounded(10_000_000.0, ge=0.0)
    value_of_point: float = bounded(100.0, ge=0.0)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one rung took.

    fit_core_seconds: of all cores together; fit_gpu_seconds: of GPUs. peak_bytes: most memory of the process
    that fitted it. size_bytes: of what it answers from. p50_seconds, p99_seconds: of one query, one thread.
    """

    fit_seconds: float
    fit_core_seconds: float
    fit_gpu_seconds: float
    peak_bytes: int
    size_bytes: int
    p50_seconds: float
    p99_seconds: float

    def per_month(self, prices: PriceSettings) -> float:
        """Fitting + answering + keeping.

        fits · (core hours · core_hour + GPU hours · gpu_hour) + queries · p50 hours · core_hour
        + GiB · gib_month.
        """
        fitting = self.fit_core_seconds * prices.core_hour + self.fit_gpu_seconds * prices.gpu_hour
        answering = prices.queries_per_month * self.p50_seconds * prices.core_hour
        keeping = self.size_bytes / _GIB * prices.gib_month
        return (prices.fits_per_month * fitting + answering) / 3600 + keeping


@dataclass(frozen=True, slots=True)
class Measured:
    """A rung with its value per question (N@10, of the same questions for all) and what it took."""

    name: str
    value: Float64[np.ndarray, " Q"]
    spent: Spent


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one rung.

    below: the rung it was compared with; None of the first. lead: of the value, with its interval at LEVEL.
    cost_per_month: its own; extra_per_month: over the rung below; worth_per_month: of its lead.
    """

    name: str
    verdict: Verdict
    below: str | None = None
    lead: Interval | None = None
    cost_per_month: float | None = None
    extra_per_month: float | None = None
    worth_per_month: float | None = None


def judge(
    rungs: Sequence[tuple[str, Measured | None]], prices: PriceSettings, *, seed: int = 0
) -> tuple[Judged, ...]:
    """Each rung against the last one promoted below it, in the order they are climbed; None is a failed one.

    A rung is better where the interval of a paired bootstrap over questions, at LEVEL, lies above zero.
    Raises QueryError where the rungs have not answered the same number of questions.
    """
    judged: list[Judged] = []
    champion: Measured | None = None
    for name, rung in rungs:
        if rung is None:
            judged.append(Judged(name, Verdict.FAILED))
            continue
        cost = rung.spent.per_month(prices)
        if champion is None:
            champion = rung
            judged.append(Judged(name, Verdict.FIRST, cost_per_month=cost))
            continue
        if len(rung.value) != len(champion.value):
            raise QueryError(
                f"{name} answered {len(rung.value)} questions, {champion.name} {len(champion.value)}; "
                "expected the same"
            )
        lead = paired_bootstrap(
            rung.value, champion.value, num_resamples=_NUM_RESAMPLES, level=LEVEL, seed=seed
        )
        extra = cost - champion.spent.per_month(prices)
        worth = 100.0 * lead.difference * prices.value_of_point
        if lead.low <= 0.0:
            verdict = Verdict.NOT_BETTER
        elif worth < extra:
            verdict = Verdict.NOT_WORTH_ITS_PRICE
        else:
            verdict = Verdict.PROMOTED
        judged.append(Judged(name, verdict, champion.name, lead, cost, extra, worth))
        if verdict is Verdict.PROMOTED:
            champion = rung
    return tuple(judged)


def promoted(judged: Sequence[Judged]) -> str | None:
    """The rung that stands at the end; None where all failed."""
    standing = [each.name for each in judged if each.verdict in (Verdict.FIRST, Verdict.PROMOTED)]
    return standing[-1] if standing else None
