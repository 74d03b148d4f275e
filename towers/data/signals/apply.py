"""Events in order → weighed histories: accidents left out, episodes as their series, repeats apart."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int, Int64

from towers.data.histories import Histories
from towers.data.signals.episodes import title_rows
from towers.data.signals.preference import preference_weight
from towers.data.signals.rewatches import first_and_repeats
from towers.data.signals.settings import SignalSettings


@dataclass(frozen=True, slots=True)
class Titles:
    """What weighing needs to know of N items.

    title_row: int64 (N,), the title that each counts for. duration_minutes: float32 (N,), NaN where unknown.
    """

    title_row: Int64[np.ndarray, " N"]
    duration_minutes: Float32[np.ndarray, " N"]


@dataclass(frozen=True, slots=True)
class Events:
    """E events packed by profile, oldest first; num_events int64 (P,) of each. Columns a log lacks are None.

    item_row: of what was played. start_ms: Unix milliseconds. minutes, completion, stars: NaN where unknown.
    plays: 0 where unknown.
    """

    num_events: Int64[np.ndarray, " P"]
    item_row: Int[np.ndarray, " E"]
    start_ms: Int64[np.ndarray, " E"]
    minutes: Float32[np.ndarray, " E"]
    completion: Float32[np.ndarray, " E"] | None
    plays: Int[np.ndarray, " E"] | None
    stars: Float32[np.ndarray, " E"] | None


@dataclass(frozen=True, slots=True)
class Watched:
    """The events that are kept, and the number of accidents, which are not.

    history: the first event of every profile and title. repeats: all later ones.
    """

    history: Histories
    repeats: Histories
    num_accidents: int


def titles_of(items: pa.Table, settings: SignalSettings) -> Titles:
    """The items as weighing sees them; SchemaError where a series belongs to another."""
    own = np.arange(items.num_rows)
    return Titles(
        title_rows(items) if settings.episodes_to_series else own,
        pc.fill_null(items["duration_minutes"], float("nan")).to_numpy().astype(np.float32),
    )


def watched(events: Events, titles: Titles, settings: SignalSettings) -> Watched:
    """The events as histories under the settings.

    An episode is weighed by its own duration and counts for its series. Of several events of a profile and
    title the first stays in the history, so that nothing later leaks into it; the others are given apart, to
    weigh it up to any cut-off (`rewatches.with_rewatches`).
    """
    weight = preference_weight(
        events.minutes,
        np.take(titles.duration_minutes, events.item_row),
        settings,
        completion=events.completion,
        plays=events.plays,
        stars=events.stars,
    )
    kept = weight > 0.0
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(events.num_events, dtype=np.int64)])
    num_accidents = len(kept) - int(before[-1])
    every = slice(None) if num_accidents == 0 else kept
    history = Histories(
        offset=before[offset],
        item_row=titles.title_row[events.item_row[every]],
        time_seconds=events.start_ms[every] // 1000,
        minutes=events.minutes[every],
        weight=weight[every],
    )
    first, repeats = first_and_repeats(history)
    return Watched(first, repeats, num_accidents)
