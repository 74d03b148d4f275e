"""Requests → queries: who asks, with which history, from where and when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from retrieval.control.view import EVERYTHING, View, without
from retrieval.eligibility.rules import LAST_SECOND, check_country, shown
from retrieval.profiles import ProfileHistories
from towers.data.histories import Histories
from towers.data.vocabulary import OOV, Vocabulary
from towers.errors import QueryError
from towers.recommender import Degraded, Queries

GivenHistory = Sequence[str] | Sequence[tuple[str, int]]
"""Item ids, or item ids and when they were watched in Unix seconds; oldest first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as a query, and what became of it on the way.

    num_unknown_items: ids of the history given that the catalogue lacks. degraded: why it is not answered in
    full; None where it is.
    """

    query: Queries
    num_unknown_items: int = 0
    degraded: Degraded | None = None


_NO_ROWS = np.empty(0, np.int64)


def asked(
    stored: ProfileHistories,
    items: Vocabulary,
    profile_id: str | None,
    history: GivenHistory | None,
    country: str | None,
    time_seconds: int | None,
    view: View = EVERYTHING,
) -> Asked:
    """The query of a profile, or of what is given as its history; see `Retriever.recommend`.

    view: what of it may be read: events that it hides count for nothing; where it is not personalised, only
    country and time of the request do, and nothing that is stored of any profile is looked at.
    Raises QueryError where what is given is not as described there.
    """
    text_or_none("country", country)
    country = None if country is None else check_country(country)
    if time_seconds is not None:
        whole_seconds("time_seconds", time_seconds)
    if not view.personalised:
        at = stored.as_of_seconds if time_seconds is None else time_seconds
        query = Queries(Histories.empty(1), np.array([at]), np.array([country or ""]))
        return Asked(query, degraded=Degraded.NOT_PERSONALISED)
    stranger = profile_id is None or profile_id not in stored.profiles
    row = OOV if stranger else stored.profiles.row(profile_id or "")
    num_unknown = 0
    if history is not None:
        now = stored.as_of_seconds if time_seconds is None else time_seconds
        watched, num_unknown = _given(history, items, now)
    elif row != OOV:
        watched = stored.history.of(row)
    else:
        watched = Histories.empty(1)
    watched = without(watched, [view])
    if country is None:
        country = "" if row == OOV else str(stored.country[row])
    last = int(watched.time_seconds[-1]) if watched.num_events else 0
    asked_seconds = last if time_seconds is None else max(time_seconds, last)
    features = None if row == OOV or stored.features is None else stored.features.slice(row, 1)
    query = Queries(watched, np.array([asked_seconds]), np.array([country]), features)
    if watched.num_events:
        return Asked(query, num_unknown)
    nobody = stranger and history is None
    return Asked(query, num_unknown, Degraded.UNKNOWN_PROFILE if nobody else Degraded.EMPTY_HISTORY)


def questions(
    stored: ProfileHistories,
    first: int,
    last: int,
    time_seconds: int | None,
    views: Sequence[View] | None = None,
) -> Queries:
    """What the profiles first to last - 1 ask, as far as views let it be read; see `Retriever.questions`."""
    check_part(first, last, len(stored.profiles))
    at = 0 if time_seconds is None else whole_seconds("time_seconds", time_seconds)
    row = np.arange(first, last)
    read = np.ones(len(row), bool) if views is None else np.array([view.personalised for view in views], bool)
    start = stored.history.offset[row]
    history = stored.history.slices(row, start, np.where(read, stored.history.offset[row + 1], start))
    history = history if views is None else without(history, views)
    latest = np.full(len(row), at)
    latest[~read] = stored.as_of_seconds if time_seconds is None else at
    np.maximum.at(latest, history.profile_rows(), history.time_seconds)
    features = None if stored.features is None else stored.features.slice(first, last - first)
    country = stored.country[first:last]
    if not read.all():
        country = np.where(read, country, "")
        features = None if features is None else _blank(features, ~read)
    return Queries(history, latest, country, features)


def check_part(first: int, last: int, num_profiles: int) -> None:
    """QueryError unless the profiles first to last - 1 are a part of all."""
    if not 0 <= first <= last <= num_profiles:
        raise QueryError(f"profiles {first} to {last}; expected a part of 0 to {num_profiles}")


def known_rows(items: Vocabulary, item_ids: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Rows of the ids that the catalogue has; QueryError where they are no sequence of ids."""
    if isinstance(item_ids, str) or not isinstance(item_ids, Iterable):
        raise QueryError(f"exclude is {item_ids!r}; expected a sequence of item ids")
    ids = list(item_ids)
    if not ids:
        return _NO_ROWS
    for one in ids:
        # A number would be an unknown id, and the title that was meant would be shown.
        if not isinstance(one, str):
            raise QueryError(f"exclude: holds {shown(one)}; expected item ids")
    rows = items.rows(ids)
    known: np.ndarray = rows[rows != OOV]
    return known


def whole_seconds(where: str, seconds: object) -> int:
    """A time as an int; QueryError, beginning with `where`, unless it is one: milliseconds are none."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | np.integer):
        raise QueryError(f"{where} is {seconds!r}; expected whole Unix seconds")
    if not 0 <= seconds <= LAST_SECOND:
        raise QueryError(f"{where} is {shown(seconds)}; expected whole Unix seconds, 0 to {LAST_SECOND}")
    return int(seconds)


def text_or_none(where: str, given: object) -> None:
    """QueryError, beginning with `where`, unless it is a text or None: a number would be an unknown id."""
    if given is not None and not isinstance(given, str):
        raise QueryError(f"{where}: found {type(given).__name__}; expected a text, or None")


def _given(history: GivenHistory, items: Vocabulary, now: int) -> tuple[Histories, int]:
    """A history of these events by time; ids without one lie at that of the request, each once."""
    if isinstance(history, str) or not isinstance(history, Iterable):
        raise QueryError(f"history is {shown(history)}; expected a sequence of item ids")
    events = [_event(one) for one in history]
    if len({second is None for _, second in events}) > 1:
        raise QueryError("history: some events have a time and some have none; expected all or none")
    events = list(dict.fromkeys(events))
    row = items.rows([item_id for item_id, _ in events])
    seconds = np.array([now if second is None else second for _, second in events], np.int64)
    known = row != OOV
    row, seconds = row[known], seconds[known]
    order = np.argsort(seconds, kind="stable")
    return _history_of(row[order], seconds[order]), int((~known).sum())


def _event(given: object) -> tuple[str, int | None]:
    """The item id and the time, if it has one, of one event of a history given."""
    match given:
        case str():
            return given, None
        case (str() as item_id, second):
            return item_id, whole_seconds(f"history: the time of {item_id!r}", second)
    raise QueryError(f"history: holds {given!r}; expected item ids or (item id, Unix seconds) pairs")


def _history_of(item_row: np.ndarray, time_seconds: np.ndarray) -> Histories:
    """One profile that watched these items; minutes unknown."""
    offset = np.array([0, len(item_row)])
    return Histories(offset, item_row, time_seconds, np.full(len(item_row), np.nan, np.float32))


def _blank(features: pa.Table, unread: Bool[np.ndarray, " P"]) -> pa.Table:
    """The same columns, nothing known of these profiles."""
    mask = pa.array(unread)
    columns = [
        pc.if_else(mask, pa.scalar(None, field.type), features[field.name]) for field in features.schema
    ]
    return pa.table(dict(zip(features.column_names, columns, strict=True)))
