"""How quality falls with a model's age: the triangular matrix of what was measured, and the curve through it.

A model trained at an origin is evaluated on later and later events. Over several origins that gives a matrix
of origins × ages, triangular because the log ends. Through it goes

    Q_o(Δ) = Q∞_o + A·exp(−λΔ)        Δ in days, λ per day,

with one λ and one A, and a level Q∞_o per origin: some times are easier to predict than others, and an origin
near the end of the log has been measured at young ages only, so a common level would be read as decay.
"""

from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
from jaxtyping import Float64, Int64

from towers.errors import QueryError

# Slower than the first, the curve is a line over the ages measured; faster than the second, it is over before
# the next age. Outside, the ages cannot tell one rate from another.
_SLOWEST_PER_SPAN = 0.05
_FASTEST_PER_STEP = 7.0
_NUM_RATES = 400
_NUM_ZOOMS = 3
_NUM_RATES_ZOOMED = 50


@dataclass(frozen=True, slots=True)
class QualityMatrix:
    """Mean quality of the models of O origins at A ages, over the questions asked at each.

    origin_seconds: int64 (O,), the cut-offs the models were trained up to, rising.
    age_days: float64 (A,), the middle of each window of evaluation after the cut-off, rising, from 0. Windows
        of whole weeks keep the week's own rhythm out of the curve.
    quality: float64 (O, A), the mean of a metric; where nothing was measured it does not count.
    num_queries: int64 (O, A), questions behind each mean; 0 where nothing was measured.
    Raises QueryError where shapes or orders are others, or a measured quality is not finite.
    """

    origin_seconds: Int64[np.ndarray, " O"]
    age_days: Float64[np.ndarray, " A"]
    quality: Float64[np.ndarray, "O A"]
    num_queries: Int64[np.ndarray, "O A"]

    def __post_init__(self) -> None:
        shape = (len(self.origin_seconds), len(self.age_days))
        if self.quality.shape != shape or self.num_queries.shape != shape:
            raise QueryError(
                f"quality is {self.quality.shape}, num_queries {self.num_queries.shape}; expected {shape}, "
                "origins × ages"
            )
        if np.any(np.diff(self.origin_seconds) <= 0):
            raise QueryError("origins do not rise; expected each cut-off once, earliest first")
        if not np.all(np.isfinite(self.age_days)) or np.any(np.diff(self.age_days, prepend=-1e-9) <= 0.0):
            raise QueryError("ages do not rise from 0 or above; expected each age once, youngest first")
        if np.any(self.num_queries < 0):
            raise QueryError("a negative number of queries; expected 0 where nothing was measured")
        num_bad = int(np.sum(~np.isfinite(self.quality[self.num_queries > 0])))
        if num_bad:
            raise QueryError(f"{num_bad} measured cells are not finite; expected num_queries = 0 there")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A fitted value and the interval that holds the true one at `level`, in the same unit."""

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class DecayCurve:
    """Q(Δ) = floor + amplitude·exp(−rate·Δ), each with its interval.

    rate: λ per day. Its interval reaches to 0 or inf where the ages measured set it no end on that side.
    amplitude: A, the quality that age takes in the end; negative where quality rises with age.
    floor: Q∞, the mean of the origins' levels.
    drop: quality lost from the youngest to the oldest age measured. It is sure where λ and A are not: of a
        slow decay, the part seen is nearly a line, which a larger A and a smaller λ fit as well.
    drawn_rate, drawn_amplitude: float64 (B,), of the resamples of origins, for the interval of what follows
        from both, such as how often to retrain.
    """

    rate: Estimate
    amplitude: Estimate
    floor: Estimate
    drop: Estimate
    drawn_rate: Float64[np.ndarray, " B"]
    drawn_amplitude: Float64[np.ndarray, " B"]

    @property
    def decays(self) -> bool:
        """Whether a loss over the ages measured is sure at the level of the intervals."""
        return self.drop.low > 0.0

    @property
    def half_life_days(self) -> float:
        """Days in which half of what age takes is lost."""
        return log(2.0) / self.rate.value

    def quality(self, age_days: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Quality expected at these ages, float64 (n,)."""
        expected: np.ndarray = self.floor.value + self.amplitude.value * np.exp(-self.rate.value * age_days)
        return expected


def fit_decay(
    matrix: QualityMatrix, *, num_resamples: int = 999, level: float = 0.95, seed: int = 0
) -> DecayCurve:
    """The least-squares curve through a matrix, cells weighing as their questions, with intervals by origin.

    Levels and amplitude are linear once λ is given, and are projected out (Golub and Pereyra 1973,
    doi:10.1137/0710036): what is left is a search over log λ alone, on a grid that is then narrowed. Levels
    are free per origin rather than shrunk to each other, so they may go with the number of ages measured.

    Intervals are symmetric bootstrap-t: origins are drawn with replacement, all their ages together, and
    |estimate* − estimate| / standard error* gives the quantile that multiplies the standard error, itself
    robust to any dependence between the ages of an origin. λ's is taken on the log scale. With few origins
    this holds its level where the percentile interval does not (Cameron, Gelbach and Miller 2008,
    doi:10.1162/rest.90.3.414; Hall 1988, doi:10.1214/aos/1176350933). Origins are taken as independent; what
    a day does to all models alike is not in the interval. Where the half-life is some times longer than the
    ages measured, the curve seen is a line: λ is then little more than a guess, its interval too narrow, and
    only `drop` and what follows from the slope, such as how often to retrain, still hold.

    Raises QueryError with fewer than three ages, or than three origins that were measured at two ages or
    more.
    """
    if num_resamples < 1 or not 0.0 < level < 1.0:
        raise QueryError(
            f"num_resamples = {num_resamples}, level = {level}; expected >= 1 and between 0 and 1"
        )
    measured = matrix.num_queries > 0
    origins, ages = measured.any(axis=1), measured[measured.sum(axis=1) > 1].any(axis=0)
    num_curves = int((measured.sum(axis=1) > 1).sum())
    if num_curves < 3 or ages.sum() < 3:
        raise QueryError(
            f"{num_curves} origins measured at two ages or more, {ages.sum()} ages; expected at least 3 and 3"
        )
    age = matrix.age_days
    weight = matrix.num_queries[origins].astype(np.float64)
    quality = np.where(measured, matrix.quality, 0.0)[origins]
    span, step = np.ptp(age[ages]), np.diff(age[ages]).min()
    log_rate = np.linspace(log(_SLOWEST_PER_SPAN / span), log(_FASTEST_PER_STEP / step), _NUM_RATES)
    sums = _Sums.within(log_rate, age, quality, weight)
    best = _narrowed(sums, age, quality, weight)
    num_origins = len(weight)
    counts = np.random.default_rng(seed).multinomial(
        num_origins, np.full(num_origins, 1 / num_origins), num_resamples
    )
    drawn = _fit(sums, counts.astype(np.float64))
    half = _half_widths(best, drawn, level)
    value = best.value[0]
    low, high = value - half, value + half
    rate = Estimate(
        exp(value[0]),
        exp(low[0]) if low[0] > log_rate[0] else 0.0,
        exp(high[0]) if high[0] < log_rate[-1] else inf,
        level,
    )
    amplitude, floor, drop = (
        Estimate(float(value[i]), float(low[i]), float(high[i]), level) for i in (1, 2, 3)
    )
    return DecayCurve(rate, amplitude, floor, drop, np.exp(drawn.value[:, 0]), drawn.value[:, 1])


@dataclass(frozen=True, slots=True)
class _Fit:
    """Estimates of B resamples: float64 (B, 4) of log λ, A, Q∞ and the drop, and their standard errors."""

    value: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, slots=True)
class _Sums:
    """All that a fit needs of each origin at each rate, so that a resample of origins is one matrix product.

    With x = exp(−λ·age), d = ∂x/∂log λ and y the quality: how far x and d fall over the ages, (G,), their
    weighted means per origin, and, (O, G), the weighted sums of products of what is left of them within the
    origin, which projects the levels out.
    """

    log_rate: np.ndarray
    x_drop: np.ndarray
    d_drop: np.ndarray
    x_mean: np.ndarray
    d_mean: np.ndarray
    y_mean: np.ndarray
    xx: np.ndarray
    xd: np.ndarray
    dd: np.ndarray
    xy: np.ndarray
    dy: np.ndarray

    @classmethod
    def within(cls, log_rate: np.ndarray, age: np.ndarray, y: np.ndarray, weight: np.ndarray) -> "_Sums":
        exponent = np.exp(log_rate)[:, None] * age
        x = np.exp(-exponent)
        d = -exponent * x
        seen = np.flatnonzero(weight.sum(axis=0))
        x_drop, d_drop = (part[:, seen[0]] - part[:, seen[-1]] for part in (x, d))
        share = weight / weight.sum(axis=1, keepdims=True)
        x_mean, d_mean, y_mean = share @ x.T, share @ d.T, (share * y).sum(axis=1)
        x_left, d_left = x[None] - x_mean[:, :, None], d[None] - d_mean[:, :, None]  # (O, G, A)
        y_left = (y - y_mean[:, None])[:, None, :]
        x_weighed, d_weighed = x_left * weight[:, None, :], d_left * weight[:, None, :]
        products = [
            (first * second).sum(axis=2)
            for first, second in (
                (x_weighed, x_left),
                (x_weighed, d_left),
                (d_weighed, d_left),
                (x_weighed, y_left),
                (d_weighed, y_left),
            )
        ]
        return cls(log_rate, x_drop, d_drop, x_mean, d_mean, y_mean, *products)


def _narrowed(sums: _Sums, age: np.ndarray, quality: np.ndarray, weight: np.ndarray) -> _Fit:
    """The fit to all origins, the grid of rates narrowed again and again around the best one."""
    once = np.ones((1, len(weight)))
    for _ in range(_NUM_ZOOMS):
        place, grid = int(_explained(sums, once).argmax()), sums.log_rate
        low, high = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
        sums = _Sums.within(np.linspace(low, high, _NUM_RATES_ZOOMED), age, quality, weight)
    return _fit(sums, once)


def _explained(sums: _Sums, counts: np.ndarray) -> np.ndarray:
    """(B, G), the sum of squares that the best amplitude explains at each rate."""
    xx, xy = counts @ sums.xx, counts @ sums.xy
    explained: np.ndarray = np.divide(xy**2, xx, out=np.zeros_like(xx), where=xx > 0.0)
    return explained


def _fit(sums: _Sums, counts: np.ndarray) -> _Fit:
    """The fits to B resamples, counts (B, O) saying how often each origin was drawn.

    At the best rate of the grid, the influence of each origin on log λ and A is its share of a Gauss–Newton
    step: their sum is what the grid leaves over, their squares the standard errors. Errors are NaN or inf in
    a resample that does not tell the rate.
    """
    place = _explained(sums, counts).argmax(axis=1)
    xx, xd, dd, xy, dy, x_mean, d_mean = (
        part[:, place].T for part in (sums.xx, sums.xd, sums.dd, sums.xy, sums.dy, sums.x_mean, sums.d_mean)
    )
    num_origins = counts.shape[1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        amplitude = ((counts * xy).sum(axis=1) / (counts * xx).sum(axis=1))[:, None]
        on_amplitude, on_log_rate = xy - amplitude * xx, amplitude * (dy - amplitude * xd)
        h11 = (counts * xx).sum(axis=1, keepdims=True)
        h12 = amplitude * (counts * xd).sum(axis=1, keepdims=True)
        h22 = amplitude**2 * (counts * dd).sum(axis=1, keepdims=True)
        determinant = h11 * h22 - h12**2
        of_log_rate = (h11 * on_log_rate - h12 * on_amplitude) / determinant
        of_amplitude = (h22 * on_amplitude - h12 * on_log_rate) / determinant
        level = sums.y_mean - amplitude * x_mean
        floor = (counts * level).sum(axis=1, keepdims=True) / num_origins
        x_all = (counts * x_mean).sum(axis=1, keepdims=True) / num_origins
        d_all = amplitude * (counts * d_mean).sum(axis=1, keepdims=True) / num_origins
        of_floor = (level - floor) / num_origins - x_all * of_amplitude - d_all * of_log_rate
        x_drop, d_drop = (part[place][:, None] for part in (sums.x_drop, sums.d_drop))
        of_drop = x_drop * of_amplitude + amplitude * d_drop * of_log_rate
        influence = np.stack([of_log_rate, of_amplitude, of_floor, of_drop], axis=2)
        step = (counts[:, :, None] * influence).sum(axis=1)
        # Without n / (n − 1): a factor common to estimate and resamples cancels in the bootstrap-t.
        error = np.sqrt((counts[:, :, None] * influence**2).sum(axis=1))
        # A step beyond the neighbouring rate is no refinement: the grid's best stands, at its end above all.
        spacing = sums.log_rate[1] - sums.log_rate[0]
        inside = np.abs(step[:, :1]) <= spacing
    at_grid = np.concatenate([sums.log_rate[place][:, None], amplitude, floor, amplitude * x_drop], axis=1)
    return _Fit(at_grid + np.where(inside, step, 0.0), error)


def _half_widths(best: _Fit, drawn: _Fit, level: float) -> np.ndarray:
    """(4,), half the symmetric bootstrap-t interval of each estimate; inf where no resample tells it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.abs(drawn.value - best.value) / drawn.error
    half = np.full(4, inf)
    for i in range(4):
        told = deviation[np.isfinite(deviation[:, i]), i]
        if len(told) and np.isfinite(best.error[0, i]):
            half[i] = np.quantile(told, level) * best.error[0, i]
    return half
