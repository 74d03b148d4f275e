"""Several events of one profile and title: the first stays in its place, the others make it weigh more."""

import numpy as np
from jaxtyping import Int64

from towers.data.histories import Histories, profile_blocks
from towers.data.order import stable_order
from towers.data.signals.preference import amount_of, weight_of
from towers.errors import QueryError


def first_and_repeats(history: Histories) -> tuple[Histories, Histories]:
    """The first event of every profile and title, and all later ones; both of the same profiles, in order."""
    is_first = np.zeros(history.num_events, dtype=bool)
    for start, stop in profile_blocks(history.offset):
        pairs = _pairs(history, start, stop, 1 + _last_row(history, start, stop))
        order = stable_order(pairs)
        is_first[int(history.offset[start]) + order[_changes(np.take(pairs, order))]] = True
    return history.only(is_first), history.only(~is_first)


def with_rewatches(
    first: Histories, repeats: Histories, before_seconds: Int64[np.ndarray, " P"]
) -> Histories:
    """`first` with the weight of each event raised by the repeats of its title before a moment.

    first, repeats: of the same P profiles; `first` names each title of a profile once. before_seconds: the
    moment per profile, Unix seconds; a repeat at or after it is the future, and does not count. A repeat of
    a title that `first` does not have does not count either.

    weight' = weight_of( amount_of(weight) + Σ amount_of(weight of repeat) ), by `preference`: what several
    plays amount to adds up, then weighs by its logarithm.
    """
    if len(first) != len(repeats) or len(first) != len(before_seconds):
        raise QueryError(
            f"rewatches: {len(first)} histories, {len(repeats)} of repeats and {len(before_seconds)} "
            "moments; expected one of each per profile"
        )
    weight = first.weight.copy()
    for start, stop in profile_blocks(first.offset + repeats.offset):
        _raise_weights(weight, first, repeats, before_seconds, start, stop)
    return Histories(first.offset, first.item_row, first.time_seconds, first.minutes, weight)


def _raise_weights(
    weight: np.ndarray,
    first: Histories,
    repeats: Histories,
    before_seconds: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Raises the weights of the profiles start:stop, in place."""
    again = slice(int(repeats.offset[start]), int(repeats.offset[stop]))
    moment = np.repeat(before_seconds[start:stop], np.diff(repeats.offset[start : stop + 1]))
    counts = np.flatnonzero(repeats.time_seconds[again] < moment)
    if len(counts) == 0:
        return
    width = 1 + max(_last_row(first, start, stop), _last_row(repeats, start, stop))
    known, asked = _pairs(first, start, stop, width), _pairs(repeats, start, stop, width)[counts]
    # One stable order brings each pair together, its first event before its repeats.
    pairs = np.concatenate([known, asked])
    order = stable_order(pairs)
    opens = _changes(pairs[order])
    amount = np.zeros(len(pairs))
    amount[len(known) :] = amount_of(repeats.weight[again][counts].astype(np.float64))
    added = np.bincount(np.cumsum(opens) - 1, amount[order])
    leader = order[opens]
    raised = (leader < len(known)) & (added > 0.0)
    event = int(first.offset[start]) + leader[raised]
    weight[event] = weight_of(amount_of(weight[event].astype(np.float64)) + added[raised])


def _changes(values: np.ndarray) -> np.ndarray:
    """Whether each value differs from the one before it."""
    changes = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _last_row(history: Histories, start: int, stop: int) -> int:
    return int(history.item_row[history.offset[start] : history.offset[stop]].max(initial=0))


def _pairs(history: Histories, start: int, stop: int, width: int) -> Int64[np.ndarray, " n"]:
    """One integer per event of the profiles start:stop that tells its profile and title."""
    profile = np.repeat(np.arange(stop - start), np.diff(history.offset[start : stop + 1]))
    pairs: np.ndarray = profile * width + history.item_row[history.offset[start] : history.offset[stop]]
    return pairs
