"""Who is missing or under-served in a log: segments beside the population meant, and beside the rest.

Two things are measured of a segment. How present it is: its share of the profiles over its share of the
reference population. How served it is: the events of its profiles over those of all others, as a ratio of
geometric means of events + 1. Profiles of one household count as what they are, nearly one.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float64

from towers.audit.reference import Reference
from towers.audit.segments import UNKNOWN, Audience, Dimension
from towers.errors import QueryError
from towers.evaluation.significance import holm
from towers.ladder.extra import of_extra
from towers.settings import bounded, check_ranges

_EXTRA = "input audit"


@dataclass(frozen=True, slots=True)
class InputSettings:
    """When a segment is called under-served, and when it is too small to tell.

    level: how often a log in which nobody is may be accused all the same, over all its segments together.
    tolerance: a ratio below it is a gap; the four fifths of the EEOC's rule.
    power: how surely a gap must show for its absence to mean anything.
    quality_variation: standard deviation of the quality metric per question over its mean; 2.5 is that of
    N@10 of leave-one-out at a mean of .1. max_quality_gap: the relative gap that must not stay hidden.
    """

    level: float = bounded(0.05, gt=0.0, lt=1.0)
    tolerance: float = bounded(0.8, gt=0.0, lt=1.0)
    power: float = bounded(0.8, gt=0.5, lt=1.0)
    quality_variation: float = bounded(2.5, gt=0.0)
    max_quality_gap: float = bounded(0.2, gt=0.0, le=1.0)


class Finding(StrEnum):
    """What the log says of a segment. That nothing was found is never called fair."""

    UNDER_SERVED = "under-served"
    NONE_FOUND = "no gap found"
    UNKNOWN = "unknown"
    """No gap was found, and the segment is too small for one to show."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, 1 where nothing is amiss, with its 95 % interval.

    p_value: one-sided, that it is below 1, over all ratios of the audit after Holm. detectable: the highest
    ratio that so many profiles would show with the power asked for; None where none would.
    """

    value: float
    low: float
    high: float
    p_value: float
    detectable: float | None


@dataclass(frozen=True, slots=True)
class SegmentAudit:
    """One segment.

    share: of the profiles that say theirs; reference: of the population, None where none is declared.
    presence: None without a reference. service: None where activity itself tells segments apart, and of a
    single household. quality_gap: the smallest relative gap in quality that a test at 5 % shows, see
    InputSettings; None of fewer than two profiles on a side. quality_known: whether it is small enough, so
    that no gap found in an evaluation would mean something.
    """

    dimension: Dimension
    segment: str
    num_profiles: int
    num_events: int
    share: float
    reference: float | None
    presence: Ratio | None
    service: Ratio | None
    quality_gap: float | None
    quality_known: bool
    finding: Finding

    @property
    def name(self) -> str:
        """country=DE."""
        return f"{self.dimension.value}={self.segment}"


def audit_segments(
    audience: Audience, reference: Reference, settings: InputSettings | None = None
) -> tuple[SegmentAudit, ...]:
    """Every segment of the audience and of the reference, the largest of the population first.

    A profile that does not say its segment counts in no segment of that dimension. Raises ConfigError on
    settings out of range, QueryError without profiles, MissingExtraError without the extra `audit`.
    """
    settings = settings or InputSettings()
    check_ranges(settings, "input")
    if len(audience) == 0:
        raise QueryError("input audit: no profile has an event; expected at least one")
    drafts = [
        draft
        for dimension, label in audience.segment.items()
        for draft in _drafts(audience, dimension, label, reference)
    ]
    raw = [each for draft in drafts for each in (draft.presence, draft.service) if each is not None]
    level = settings.level / max(1, len(raw))
    corrected = dict(zip(map(id, raw), holm([each.p_value for each in raw]).tolist(), strict=True))
    return tuple(_judged(draft, corrected, level, settings) for draft in drafts)


@dataclass(frozen=True, slots=True)
class _Raw:
    """A ratio before it is corrected. num: profiles that it is worth, households allowed for.

    deviation: of the logarithm of events + 1 on either side; base: the share expected. One of them counts.
    """

    value: float
    low: float
    high: float
    p_value: float
    num: float
    num_others: float = 0.0
    deviation: float = 0.0
    base: float = 0.0


@dataclass(frozen=True, slots=True)
class _Draft:
    dimension: Dimension
    segment: str
    num_profiles: int
    num_others: int
    num_events: int
    share: float
    reference: float | None
    presence: _Raw | None
    service: _Raw | None


def _drafts(
    audience: Audience, dimension: Dimension, label: np.ndarray, reference: Reference
) -> list[_Draft]:
    """The segments of one dimension, nothing judged yet."""
    known = label != UNKNOWN
    label, cluster, num_events = label[known], audience.cluster[known], audience.num_events[known]
    values, code = np.unique(label, return_inverse=True)
    count = np.bincount(code, minlength=len(values))
    expected = reference.shares.get(dimension)
    names = [str(value) for value in values]
    names += [name for name, share in (expected or {}).items() if name not in names and share > 0.0]
    of_name = dict(zip(names, np.append(count, np.zeros(len(names) - len(count), np.int64)), strict=True))
    if expected is None:
        names.sort(key=lambda name: -of_name[name])
    else:
        names.sort(key=lambda name: -expected.get(name, 0.0))
    worth = len(label) / design_effect(code, cluster)
    log_events = np.log1p(num_events)
    place = {str(value): number for number, value in enumerate(values)}
    drafts = []
    for name in names:
        inside = code == place.get(name, -1)
        base = None if expected is None else expected.get(name, 0.0)
        share = float(inside.mean())
        drafts.append(
            _Draft(
                dimension,
                name,
                int(of_name[name]),
                int(len(label) - of_name[name]),
                int(num_events[inside].sum()),
                share,
                base,
                None if not base or base == 1.0 else _presence(share, base, worth),
                None if dimension is Dimension.ACTIVITY else _service(log_events, inside, cluster),
            )
        )
    return drafts


def design_effect(code: np.ndarray, cluster: np.ndarray) -> float:
    """By how many times households inflate the variance of the shares of a dimension; 1 where they do not.

    deff = Σ_s Σ_h (m_hs - p_s n_h)² / Σ_s P p_s (1 - p_s), of segments s, households h of n_h profiles, m_hs
    of them in s. One for the whole dimension, since a rare segment alone could not tell its own. Source: Kish
    1965, Survey Sampling, chapter 8.
    """
    num = len(code)
    share = np.bincount(code) / max(1, num)
    simple = num * float((share * (1.0 - share)).sum())
    if simple == 0.0:
        return 1.0
    size = np.bincount(cluster).astype(np.float64)
    pair, in_pair = np.unique(cluster.astype(np.int64) * len(share) + code, return_counts=True)
    of_pair = share[pair % len(share)]
    held = size[pair // len(share)]
    # Of the pairs that hold nobody the term is (p n)²; of the others it is exchanged.
    squares = float((share**2).sum() * (size**2).sum())
    squares += float(((in_pair - of_pair * held) ** 2 - (of_pair * held) ** 2).sum())
    return squares / simple


def _presence(share: float, base: float, worth: float) -> _Raw:
    """The share over the one expected, as if `worth` profiles had been drawn one by one.

    The interval is Clopper and Pearson's, and p that of its lower tail, both carried on to counts that are
    not whole: the binomial tail is a beta tail.
    """
    beta = of_extra("scipy.stats", _EXTRA, "audit").beta
    count, rest = share * worth, (1.0 - share) * worth
    low = float(beta.ppf(0.025, count, rest + 1.0)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1.0, rest)) if rest else 1.0
    p_value = float(beta.cdf(1.0 - base, rest, count + 1.0)) if rest else 1.0
    return _Raw(share / base, low / base, high / base, p_value, worth, base=base)


def _service(
    log_events: Float64[np.ndarray, " P"], inside: Bool[np.ndarray, " P"], cluster: np.ndarray
) -> _Raw | None:
    """The geometric mean of events + 1 inside over that outside; the variance is that between households."""
    num, num_others = int(inside.sum()), int((~inside).sum())
    num_clusters = [len(np.unique(cluster[side])) for side in (inside, ~inside)]
    if min(num_clusters) < 2 or np.ptp(log_events) == 0.0:
        return None
    t = of_extra("scipy.stats", _EXTRA, "audit").t
    mean, mean_others = float(log_events[inside].mean()), float(log_events[~inside].mean())
    influence = np.where(inside, (log_events - mean) / num, (mean_others - log_events) / num_others)
    variance = float((np.bincount(cluster, influence) ** 2).sum())
    error, freedom = math.sqrt(variance), min(num_clusters) - 1
    difference = mean - mean_others
    if error == 0.0:
        return None
    # Households are drawn, not profiles: the t of as many as there are on the smaller side.
    reach = float(t.ppf(0.975, freedom)) * error
    own = float((np.bincount(cluster[inside], influence[inside]) ** 2).sum()) * num**2
    deviation = float(log_events.std())
    worth = num * min(1.0, num * float(log_events[inside].var()) / own) if own else float(num)
    return _Raw(
        math.exp(difference),
        math.exp(difference - reach),
        math.exp(difference + reach),
        float(t.cdf(difference / error, freedom)),
        worth,
        num_others=float(num_others),
        deviation=deviation,
    )


def _judged(
    draft: _Draft, corrected: dict[int, float], level: float, settings: InputSettings
) -> SegmentAudit:
    presence, service = (
        None if raw is None else _ratio(raw, corrected[id(raw)], level, settings.power)
        for raw in (draft.presence, draft.service)
    )
    ratios = [each for each in (presence, service) if each is not None]
    gap = quality_gap(draft.num_profiles, draft.num_others, settings)
    if any(each.p_value <= settings.level and each.value < settings.tolerance for each in ratios):
        finding = Finding.UNDER_SERVED
    elif not ratios or any(
        each.detectable is None or each.detectable < settings.tolerance for each in ratios
    ):
        finding = Finding.UNKNOWN
    else:
        finding = Finding.NONE_FOUND
    return SegmentAudit(
        dimension=draft.dimension,
        segment=draft.segment,
        num_profiles=draft.num_profiles,
        num_events=draft.num_events,
        share=draft.share,
        reference=draft.reference,
        presence=presence,
        service=service,
        quality_gap=gap,
        quality_known=gap is not None and gap <= settings.max_quality_gap,
        finding=finding,
    )


def _ratio(raw: _Raw, p_value: float, level: float, power: float) -> Ratio:
    found = _detectable_share(raw, level, power) if raw.base else _detectable_service(raw, level, power)
    return Ratio(raw.value, raw.low, raw.high, p_value, found)


def _detectable_share(raw: _Raw, level: float, power: float) -> float | None:
    """H = 2 asin √p₀ - 2 asin √p₁ solved for p₁ / p₀; None where even nobody at all would not show."""
    effect = _standard_effect(raw.num, math.inf, level, power)
    angle = math.asin(math.sqrt(raw.base)) - effect / 2.0
    return math.sin(angle) ** 2 / raw.base if angle > 0.0 else None


def _detectable_service(raw: _Raw, level: float, power: float) -> float:
    return math.exp(-_standard_effect(raw.num, raw.num_others, level, power) * raw.deviation)


def quality_gap(num: int, num_others: int, settings: InputSettings) -> float | None:
    """The smallest gap in mean quality to all others that a two-sided test at 5 % shows with `power`.

    Relative to the mean; one question per profile. None of fewer than two on a side, which have no spread.
    """
    if min(num, num_others) < 2:
        return None
    return _standard_effect(float(num), float(num_others), 0.025, settings.power) * settings.quality_variation


def _standard_effect(num: float, num_others: float, level: float, power: float) -> float:
    """The difference in standard deviations (Cohen's d or h) that a one-sided test at `level` shows.

    (z_{1 - level} + z_power) · √(1/n₁ + 1/n₂), as statsmodels' NormalIndPower solves it. Source: Cohen 1988,
    Statistical Power Analysis for the Behavioral Sciences, chapters 2 and 6.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1.0 - level) + normal.inv_cdf(power)) * math.sqrt(1.0 / num + 1.0 / num_others)
