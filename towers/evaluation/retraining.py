"""How often to retrain: what age costs against what a retrain costs.

A model of age a has lost L(a) = A·(1 − exp(−λa)). One that is retrained every T days, at C each, where a unit
of quality is worth v a day, costs per day

    [C + v·A·(T − (1 − exp(−λT))/λ)] / T,

the age-replacement problem of renewal theory (Barlow and Hunter 1960, doi:10.1287/opre.8.1.90).
"""

from dataclasses import dataclass
from math import exp, expm1, factorial, inf, sqrt

from towers.errors import ConfigError
from towers.settings import bounded, check_ranges

POINT = 0.01
"""The unit in which quality is priced: one hundredth of a metric."""

# Below, 1 − (1 + u)·exp(−u) loses digits and its series is exact.
_SERIES_BELOW = 0.1


@dataclass(frozen=True, slots=True)
class RetrainingSettings:
    """What updates cost and what quality is worth, in one currency.

    cost: of one retrain: machines, storage, people.
    warm_cost: of one warm start, which trains for fewer epochs and publishes as a retrain does.
    rebuild_cost: of one rebuild of the index: the catalogue embedded by the old model, and published.
    value_per_point_day: what one point (0.01) of the metric is worth per day.
    shortest_days, longest_days: no schedule is outside; longest_days None leaves "never" possible.
    """

    cost: float = bounded(100.0, ge=0.0)
    warm_cost: float = bounded(30.0, ge=0.0)
    rebuild_cost: float = bounded(5.0, ge=0.0)
    value_per_point_day: float = bounded(50.0, ge=0.0)
    shortest_days: int = bounded(1, ge=1)
    longest_days: int | None = bounded(None, ge=1)

    @property
    def value(self) -> float:
        """v, what a whole unit of quality is worth per day."""
        return self.value_per_point_day / POINT


def check_retraining(settings: RetrainingSettings, key: str = "retraining") -> None:
    """Raises ConfigError naming the key of a value out of range, or bounds that leave no interval."""
    check_ranges(settings, key)
    if settings.longest_days is not None and settings.longest_days < settings.shortest_days:
        raise ConfigError(
            f"{key}.longest_days: {settings.longest_days}; expected at least shortest_days, "
            f"{settings.shortest_days}"
        )


def cost_per_day(days: float, *, cost: float, value: float, amplitude: float, rate: float) -> float:
    """Cost per day of a retrain every `days`, in the currency of cost and value; inf days is never."""
    if days == inf:
        return value * amplitude if rate > 0.0 else 0.0
    return (cost + value * amplitude * _lost_days(rate, days)) / days


def optimal_days(*, cost: float, value: float, amplitude: float, rate: float) -> float:
    """T*, the days between retrains that cost least per day: inf for never, 0.0 for as often as can be.

    The derivative vanishes where 1 − (1 + u)·exp(−u) = λC / (vA), u = λT: the left side rises from 0 to 1, so
    there is one such T, and none, hence never, where a retrain costs more than all it could ever win back,
    C >= vA/λ. For λ → 0 with a slope s = λA, T* → √(2C / (v·s)). Newton's steps, kept inside a bracket.
    """
    if amplitude <= 0.0 or value <= 0.0 or rate <= 0.0:
        return inf
    if cost <= 0.0:
        return 0.0
    share = rate * cost / (value * amplitude)
    if share >= 1.0:
        return inf
    low, high = 0.0, 1.0
    while _won(high) < share:
        low, high = high, 2.0 * high
    u = min(sqrt(2.0 * share), high)
    for _ in range(200):
        gap = _won(u) - share
        if gap == 0.0:
            break
        low, high = (u, high) if gap < 0.0 else (low, u)
        slope = u * exp(-u)
        following = u - gap / slope if slope > 0.0 else low
        if not low <= following <= high:
            following = (low + high) / 2.0
        if abs(following - u) <= 1e-14 * u:
            break
        u = following
    return u / rate


def whole_days(best: float, settings: RetrainingSettings, *, amplitude: float, rate: float) -> int | None:
    """The cheaper whole number of days beside the best, within bounds; None for never."""
    if best == inf:
        return settings.longest_days
    longest = inf if settings.longest_days is None else settings.longest_days
    beside = {int(min(max(days, settings.shortest_days), longest)) for days in (best // 1, best // 1 + 1)}
    return min(
        sorted(beside),
        key=lambda days: cost_per_day(
            float(days), cost=settings.cost, value=settings.value, amplitude=amplitude, rate=rate
        ),
    )


def _won(u: float) -> float:
    """1 − (1 + u)·exp(−u), the share of all it could win that a retrain at u = λT does win."""
    if u < _SERIES_BELOW:
        return sum((-1.0) ** k * (k - 1) / factorial(k) * u**k for k in range(2, 12))
    return -expm1(-u) - u * exp(-u)


def _lost_days(rate: float, days: float) -> float:
    """∫ 1 − exp(−rate·a) da up to `days`: the days' worth of amplitude that is lost."""
    u = rate * days
    if u < _SERIES_BELOW:
        return days * sum((-1.0) ** k / factorial(k) * u ** (k - 1) for k in range(2, 12))
    return days + expm1(-u) / rate
