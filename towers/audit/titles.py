"""What is in the catalogue: titles beside the watching that they get, by genre, country, age and people."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from towers.audit.segments import UNKNOWN
from towers.evaluation.concentration import gini

_AGES_FROM = (1, 3, 10, 25)
_AGES = ("under 1 year", "1 to 2", "3 to 9", "10 to 24", "25 and more")
_TITLES_FROM = (1, 2, 5, 10)
_TITLES = ("nobody named", "1 title", "2 to 4", "5 to 9", "10 and more")


class TitleKind(StrEnum):
    """What titles are told apart by."""

    GENRE = "genre"
    PRODUCTION = "production"
    """Country of production; a title of several counts in each, as with genres."""
    LANGUAGE = "language"
    RELEASE_AGE = "release_age"
    """Years from the release year to the last event."""
    PEOPLE = "people"
    """In how many titles of the catalogue the best known of cast and directors is named."""


@dataclass(frozen=True, slots=True)
class TitleGroup:
    """Titles of one value: their share of the catalogue and of the events, and how many nobody watched."""

    kind: TitleKind
    value: str
    num_titles: int
    share: float
    event_share: float
    num_unwatched: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What the profiles of a country may watch as the log ends: shares of the catalogue.

    local: of the titles on offer, those produced there. spoken: those in a profile's own language, on
    average over the profiles that say theirs; None where none does.
    """

    country: str
    num_profiles: int
    on_offer: float
    local: float
    spoken: float | None


@dataclass(frozen=True, slots=True)
class TitleAudit:
    """groups: the largest first within a kind; offers: by country; gini: of events over all titles;
    people_gini: of the titles that each person is named in.
    """

    groups: tuple[TitleGroup, ...]
    offers: tuple[Offer, ...]
    gini: float
    people_gini: float


def audit_titles(items: pa.Table, profiles: pa.Table, events: pl.LazyFrame) -> TitleAudit:
    """The catalogue side of canonical tables; `events` are read in a stream."""
    counted = (
        events.group_by("item_id").agg(num=pl.len(), last=pl.col("start").max()).collect(engine="streaming")
    )
    place = pc.index_in(items["item_id"], value_set=pa.array(counted["item_id"].to_list(), pa.string()))
    row = pc.fill_null(place, -1).to_numpy()
    num_events = np.where(row >= 0, np.append(counted["num"].to_numpy(), 0)[row], 0).astype(np.int64)
    last = counted["last"].max()
    now = last if isinstance(last, datetime) else datetime(1970, 1, 1, tzinfo=UTC)
    labels = title_labels(items, now.year)
    people, named = _people(items)
    labels[TitleKind.PEOPLE] = [[_TITLES[np.searchsorted(_TITLES_FROM, n, side="right")]] for n in people]
    groups = [group for kind, label in labels.items() for group in _groups(kind, label, num_events)]
    return TitleAudit(
        tuple(groups), _offers(items, profiles, now), gini(num_events), gini(np.array(named, np.int64))
    )


def title_labels(items: pa.Table, year: int) -> dict[TitleKind, list[list[str]]]:
    """The values of every title by kind, but people; UNKNOWN of one without. year: that ages count from."""
    return {
        TitleKind.GENRE: _lists(items["genres"]),
        TitleKind.PRODUCTION: _lists(items["countries"]),
        TitleKind.LANGUAGE: [[each or UNKNOWN] for each in items["language"].to_pylist()],
        TitleKind.RELEASE_AGE: [[_age(released, year)] for released in items["release_year"].to_pylist()],
    }


def _age(year: int | None, now: int) -> str:
    return UNKNOWN if year is None else _AGES[int(np.searchsorted(_AGES_FROM, now - year, side="right"))]


def _lists(column: pa.ChunkedArray) -> list[list[str]]:
    return [list(values or (UNKNOWN,)) for values in column.to_pylist()]


def _people(items: pa.Table) -> tuple[list[int], list[int]]:
    """For each title the titles of its best known person, 0 of nobody; and the titles of every person."""
    named = [
        {*(cast or ()), *(directors or ())}
        for cast, directors in zip(items["cast"].to_pylist(), items["directors"].to_pylist(), strict=True)
    ]
    titles = Counter(name for names in named for name in names)
    return [max((titles[name] for name in names), default=0) for names in named], [*titles.values()]


def _groups(
    kind: TitleKind, labels: list[list[str]], num_events: Int64[np.ndarray, " N"]
) -> list[TitleGroup]:
    flat = np.array([value for values in labels for value in values], dtype=np.str_)
    title = np.repeat(np.arange(len(labels)), [len(values) for values in labels])
    values, code = np.unique(flat, return_inverse=True)
    if not (values != UNKNOWN).any():
        return []
    total = max(1, int(num_events.sum()))
    groups = [
        TitleGroup(
            kind=kind,
            value=str(value) or "unknown",
            num_titles=len(rows),
            share=len(rows) / len(labels),
            event_share=float(num_events[rows].sum()) / total,
            num_unwatched=int((num_events[rows] == 0).sum()),
        )
        for value, rows in ((value, title[code == number]) for number, value in enumerate(values))
    ]
    return sorted(groups, key=lambda group: -group.num_titles)


def _offers(items: pa.Table, profiles: pa.Table, now: datetime) -> tuple[Offer, ...]:
    """None where no title says where it may be shown, or no profile where it lives."""
    licences = items["licences"].to_pylist()
    countries = profiles["country"].to_pylist()
    if all(windows is None for windows in licences) or not any(countries):
        return ()
    made = [set(values or ()) for values in items["countries"].to_pylist()]
    language = items["language"].to_pylist()
    num_profiles = Counter(country for country in countries if country)
    speakers = Counter(zip(countries, profiles["language"].to_pylist(), strict=True))
    offers = []
    for country in sorted(num_profiles, key=lambda each: (-num_profiles[each], each)):
        shown = [row for row, windows in enumerate(licences) if _shown(windows, country, now)]
        some = max(1, len(shown))
        of_language = Counter(language[row] for row in shown)
        speak = {spoken: num for (where, spoken), num in speakers.items() if where == country and spoken}
        heard = sum(of_language[spoken] * num for spoken, num in speak.items())
        offers.append(
            Offer(
                country,
                num_profiles[country],
                len(shown) / len(licences),
                sum(country in made[row] for row in shown) / some,
                heard / some / sum(speak.values()) if speak else None,
            )
        )
    return tuple(offers)


def _shown(windows: list[dict[str, object]] | None, country: str, now: datetime) -> bool:
    if windows is None:
        return True
    for window in windows:
        start, end = window["start"], window["end"]
        begun = start is None or (isinstance(start, datetime) and start <= now)
        ended = isinstance(end, datetime) and end <= now
        if window["country"] in (None, country) and begun and not ended:
            return True
    return False
