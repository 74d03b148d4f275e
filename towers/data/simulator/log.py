"""The four tables that the service logs, as Arrow tables."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int, Int64

from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, TIME, table
from towers.data.simulator.audience import REGIONS, REGIONS_PER_COUNTRY, Audience
from towers.data.simulator.calendar import LOG_START_MS, WEEK_MS
from towers.data.simulator.catalogue import LANGUAGE_OF, LANGUAGES, Catalogue
from towers.data.simulator.licences import Licences
from towers.data.simulator.searches import Phrases, Searches
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.words import AGE_BANDS, COUNTRIES, GENRES, MATURITY

_CODES = np.array([country.code for country in COUNTRIES], "S")


class Ids:
    """Ids of one width, `prefix` and a number: text columns of them are made without touching each value."""

    def __init__(self, prefix: str, count: int) -> None:
        width = len(str(max(count - 1, 0)))
        number = np.arange(count)[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10
        digits = np.hstack([np.full((count, 1), ord(prefix)), number + ord("0")]).astype(np.uint8)
        self._text = digits.reshape(-1).view(f"S{width + 1}")

    def column(self) -> pa.Array:
        """All of them, in order."""
        return _fixed_width(self._text)

    def take(self, row: Int[np.ndarray, " n"]) -> pa.Array:
        """Those of the rows given."""
        return _fixed_width(self._text[row])


def _fixed_width(text: np.ndarray) -> pa.Array:
    """A string column of values of one width, ASCII, none shorter."""
    width = text.dtype.itemsize
    offset = np.arange(len(text) + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(len(text), pa.py_buffer(offset), pa.py_buffer(text))


def _take(values: Sequence[str], row: Int[np.ndarray, " n"]) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(row))


def _times(unix_ms: Int64[np.ndarray, " n"]) -> pa.Array:
    return pa.array(unix_ms).view(TIME)


def with_attribute(found: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with one attribute in its attributes; the list is null where the value is."""
    struct = pa.StructArray.from_arrays(
        [pa.array([name] * len(values), pa.string()), values], names=["name", "value"]
    )
    offset = pa.array(np.arange(len(values) + 1, dtype=np.int32))
    column = pa.ListArray.from_arrays(offset, struct, mask=values.is_null())
    place = found.schema.get_field_index("attributes")
    return found.set_column(place, found.schema.field(place), column)


def item_table(catalogue: Catalogue, licences: Licences, item_ids: Ids) -> pa.Table:
    """The items table."""
    genres = [genre.name for genre in GENRES]
    people = catalogue.people
    codes = [country.code for country in COUNTRIES]
    both_sub_genres = list(
        zip(catalogue.sub_genre.tolist(), catalogue.second_sub_genre.tolist(), strict=True)
    )
    both_countries = zip(catalogue.country.tolist(), catalogue.second_country.tolist(), strict=True)
    return table(
        ITEMS,
        {
            "item_id": item_ids.column(),
            "title": list(catalogue.titles),
            "release_year": catalogue.year.astype(np.int16),
            "released": _arrivals(catalogue.arrival_week),
            "genres": [
                list(dict.fromkeys(genres[GENRE_OF[row]] for row in rows if row >= 0))
                for rows in both_sub_genres
            ],
            "sub_genres": [[SUB_GENRES[row] for row in rows if row >= 0] for rows in both_sub_genres],
            "cast": [[people[row] for row in rows if row >= 0] for rows in catalogue.cast.tolist()],
            "directors": [[people[row]] for row in catalogue.director.tolist()],
            "countries": [[codes[row] for row in rows if row >= 0] for rows in both_countries],
            "language": _take(LANGUAGES, LANGUAGE_OF[catalogue.country]),
            "maturity": _take(MATURITY, catalogue.maturity),
            "rating": catalogue.rating,
            "duration_minutes": catalogue.duration.astype(np.float32),
            "synopsis": list(catalogue.synopses),
            "licences": licences.column(),
        },
    )


def _arrivals(week: Int64[np.ndarray, " N"]) -> pa.Array:
    """The Monday on which each title came to the service; null of what was there when the log begins."""
    return pa.array(LOG_START_MS + week * WEEK_MS, TIME, mask=week == 0)


def profile_table(audience: Audience, profile_ids: Ids) -> pa.Table:
    """The profiles table."""
    return table(
        PROFILES,
        {
            "profile_id": profile_ids.column(),
            "country": _fixed_width(_CODES[audience.country]),
            "region": _take(REGIONS, audience.region),
            "language": _take(LANGUAGES, audience.language),
            "age_band": _take(AGE_BANDS, audience.age_band),
            "kids": pa.array(audience.kids),
            "household_id": Ids("h", int(audience.household[-1]) + 1).take(audience.household),
        },
    )


def event_table(watches: np.ndarray, profile_ids: Ids, item_ids: Ids) -> pa.Table:
    """The events table of WATCH records, in their order."""
    position = watches["position"].astype(np.int16)
    return table(
        EVENTS,
        {
            "profile_id": profile_ids.take(watches["profile_row"]),
            "item_id": item_ids.take(watches["item_row"]),
            "start": _times(np.ascontiguousarray(watches["start_ms"])),
            "minutes_watched": pa.array(watches["minutes"]),
            "country": _fixed_width(_CODES[watches["region"] // REGIONS_PER_COUNTRY]),
            "region": _take(REGIONS, watches["region"]),
            "position": pa.array(position, mask=position == 0),
        },
    )


def query_table(
    searches: Searches, phrases: Phrases, watches: np.ndarray, profile_ids: Ids, item_ids: Ids
) -> pa.Table:
    """The queries table, in the order of the searches, each before one of the WATCH records."""
    text_row = searches.spelled + searches.mistyped * phrases.num_spelled
    watch = watches.take(searches.event)
    played = item_ids.take(searches.sought)
    return table(
        QUERIES,
        {
            "profile_id": profile_ids.take(watch["profile_row"]),
            "text": phrases.text.take(pa.array(text_row)),
            "time": _times(watch["start_ms"] - searches.lead_ms),
            "country": _fixed_width(_CODES[watch["region"] // REGIONS_PER_COUNTRY]),
            "item_id": pc.if_else(pa.array(searches.played), played, None),
        },
    )
