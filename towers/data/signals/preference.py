"""Minutes watched → how much an event says of what its profile likes."""

import numpy as np
from jaxtyping import Float, Float32, Int

from towers.data.signals.settings import SignalSettings

LEAST_AMOUNT = 0.01
"""What any event that is kept counts for, in whole titles: a weight is never 0 by the formula alone."""

# Events weighed at once: their columns stay in the processor's cache.
_BLOCK = 1 << 15


def preference_weight(
    minutes: Float32[np.ndarray, " E"],
    duration_minutes: Float32[np.ndarray, " E"],
    settings: SignalSettings,
    *,
    completion: Float32[np.ndarray, " E"] | None = None,
    plays: Int[np.ndarray, " E"] | None = None,
    stars: Float32[np.ndarray, " E"] | None = None,
) -> Float32[np.ndarray, " E"]:
    """The weight of each event: 1 for one title watched whole, 0 for an accident, which no history keeps.

    minutes: of the event, all its plays together. duration_minutes: of what was played, an episode's own.
    completion: share of the title watched, 0 to 1. plays: how many the event counts. stars: 0 to 10. NaN,
    and in plays any number below 1, where the log says nothing; None where it has no such column.

    amount r, in whole titles, by the first of these that the log says, n plays (1 where not said):

        completion · n;   min(minutes / duration, n);   stars / 10 · n;   n

    weight = r where r ≤ 1, else 1 + ln r; r is at least LEAST_AMOUNT. So the weight is smooth, a half-seen
    title weighs a half, and the hundredth play adds a hundredth of what the first did. r is the amount of
    consumption of Hu, Koren and Volinsky, ICDM 2008, doi:10.1109/ICDM.2008.22, "how many times fully
    watched", and ln r the logarithm in their confidence 1 + α ln(1 + r / ε); here it begins at the second
    whole play, so that one whole play weighs what an event of unknown length does, 1.

    An event is an accident where it reaches none of the bounds that apply: min_minutes where minutes are
    known, min_completion where a share is; a bound of 0 does not apply. A rated event is never one.
    """
    weight = np.empty(len(minutes), np.float32)
    for start in range(0, len(minutes), _BLOCK):
        part = slice(start, start + _BLOCK)
        columns = [None if column is None else column[part] for column in (completion, plays, stars)]
        weight[part] = _weigh(minutes[part], duration_minutes[part], settings, *columns)
    return weight


def weight_of(amount: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The weight of an amount r ≥ 0 in whole titles: r up to 1, then 1 + ln r; same dtype."""
    amount = np.maximum(amount, LEAST_AMOUNT)
    weight: np.ndarray = np.minimum(amount, 1.0)
    if amount.max(initial=0.0) > 1.0:  # else a third of the time goes into logarithms of 1
        weight += np.log(np.maximum(amount, 1.0))
    return weight


def amount_of(weight: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The amount that a weight stands for, the inverse of `weight_of` from LEAST_AMOUNT on; same dtype.

    Amounts of several events of one title add up, weights do not.
    """
    amount: np.ndarray = np.minimum(weight, 1.0) * np.exp(np.maximum(weight, 1.0) - 1.0)
    return amount


def _weigh(
    minutes: np.ndarray,
    duration: np.ndarray,
    settings: SignalSettings,
    completion: np.ndarray | None,
    plays: np.ndarray | None,
    stars: np.ndarray | None,
) -> np.ndarray:
    num_plays = np.float32(1.0) if plays is None else np.maximum(plays, 1).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        watched = minutes / np.where(duration > 0.0, duration, np.float32(np.nan))
    share = watched
    if completion is not None:
        # Minutes count all plays, completion counts one.
        known = ~np.isnan(completion)
        share = np.where(known, completion, share)
        watched = np.where(known, completion * num_plays, watched)
    kept = ~_accidental(minutes, share, stars, settings)
    if not settings.weights:
        return kept.astype(np.float32)
    if stars is not None and settings.stars:
        watched = np.where(np.isnan(watched), stars * np.float32(0.1) * num_plays, watched)
    # fmin passes over NaN: of an amount that is still unknown, it leaves the plays.
    weight: np.ndarray = weight_of(np.fmin(watched, num_plays)) * kept
    return weight


def _accidental(
    minutes: np.ndarray, share: np.ndarray, stars: np.ndarray | None, settings: SignalSettings
) -> np.ndarray:
    """Whether each event reaches none of the bounds that apply to it, and one does."""
    bounds = [
        (value, least)
        for value, least in ((minutes, settings.min_minutes), (share, settings.min_completion))
        if least > 0.0
    ]
    accidental = np.zeros(len(minutes), dtype=bool)
    for value, least in bounds:
        accidental |= value < least
    for value, least in bounds:
        accidental &= ~(value >= least)
    if stars is not None:
        accidental &= np.isnan(stars)
    return accidental
