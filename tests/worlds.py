"""Worlds with a known answer, for tests: tastes in blocks, and small logs written by hand."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, TIME, Tables, table
from towers.data.signals.settings import SignalSettings

SIGNALS = asdict(SignalSettings())
"""The default signals as the settings of a training hold them."""
DAY_SECONDS = 24 * 60 * 60
START_SECONDS = 1_700_000_000
"""When the logs of these worlds begin, in Unix seconds."""


def write_tables(tables: Tables, folder: Path, order_of: Path | None = None) -> None:
    """Ingests tables in memory into a folder, as scripts/train.py does; `order_of`: as scripts/rebuild.py."""
    ingest(raw_from_tables(tables), "a world", folder, RuleSettings(), order_of=order_of)


def block_world(
    num_blocks: int,
    items_per_block: int,
    profiles_per_block: int,
    events_per_profile: int,
    seed: int,
    *,
    cold_items_per_block: int = 0,
) -> Tables:
    """A service in which every profile watches the titles of one block, and no other, in random order.

    So for a profile of block b every unwatched title of b must rank above all titles of other blocks. A
    title carries its block as genre, sub-genre and lead actor; rows go round the blocks, so that an order
    by row favours none: item row i is of block i % num_blocks (`block_of`), profile row p of block
    p % num_blocks. The last `cold_items_per_block` titles of each block are watched by nobody: only their
    metadata tells where they belong. Every profile watches one title a day; each title that is not cold is
    equally likely, so popularity tells nothing.
    """
    num_warm = items_per_block - cold_items_per_block
    if events_per_profile > num_warm:
        raise ValueError(f"{events_per_profile} events a profile and {num_warm} titles to watch in its block")
    rng = np.random.default_rng(seed)
    num_profiles = num_blocks * profiles_per_block
    places = rng.random((num_profiles, num_warm)).argsort(axis=1)[:, :events_per_profile]
    item_row = places * num_blocks + np.arange(num_profiles)[:, None] % num_blocks
    start_ms = 1000 * (
        START_SECONDS
        + DAY_SECONDS * np.arange(events_per_profile)
        + rng.integers(0, DAY_SECONDS // 2, (num_profiles, events_per_profile))
    )
    order = np.argsort(start_ms.ravel(), kind="stable")
    items = _block_items(num_blocks, items_per_block)
    profile_id = [f"p{row}" for row in range(num_profiles)]
    profile_row = np.repeat(np.arange(num_profiles), events_per_profile)[order]
    minutes = rng.uniform(60.0, 100.0, len(order)).astype(np.float32)
    return Tables(
        items=items,
        events=table(
            EVENTS,
            {
                "profile_id": pa.array(profile_id).take(profile_row),
                "item_id": items["item_id"].take(item_row.ravel()[order]),
                "start": pa.array(start_ms.ravel()[order], TIME),
                "minutes_watched": minutes,
                "country": ["GB"] * len(order),
            },
        ),
        profiles=table(PROFILES, {"profile_id": profile_id, "country": ["GB"] * num_profiles}),
        queries=table(QUERIES, {}),
    )


def block_of(rows: np.ndarray, num_blocks: int) -> np.ndarray:
    """The block of item rows, or of profile rows, of a block world."""
    block: np.ndarray = rows % num_blocks
    return block


def two_taste_world(
    num_blocks: int, items_per_block: int, num_profiles: int, events_per_profile: int, seed: int
) -> tuple[Tables, np.ndarray]:
    """A service in which every profile watches the titles of two blocks, and both blocks of each: (P, 2).

    It watches as many titles of one as of the other, in random order, one a day; rows and metadata are those
    of `block_world`. So every unwatched title of the two blocks must rank above all others. Where vectors are
    narrow beside the number of blocks, the middle of two blocks is as near to a third: one vector cannot say
    it.
    """
    rng = np.random.default_rng(seed)
    tastes = np.stack([rng.choice(num_blocks, 2, replace=False) for _ in range(num_profiles)])
    events = []
    for profile, blocks in enumerate(tastes):
        of_each = [
            rng.permutation(items_per_block)[: events_per_profile // 2] * num_blocks + block
            for block in blocks
        ]
        for day, row in enumerate(rng.permutation(np.concatenate(of_each))):
            events.append(
                (profile, int(row), 1000 * DAY_SECONDS * day + int(rng.integers(DAY_SECONDS * 500)))
            )
    events.sort(key=lambda event: event[2])
    tables = log_tables(events, num_items=num_blocks * items_per_block, num_profiles=num_profiles)
    return replace(tables, items=_block_items(num_blocks, items_per_block)), tastes


def _block_items(num_blocks: int, items_per_block: int) -> pa.Table:
    block = [row % num_blocks for row in range(num_blocks * items_per_block)]
    return table(
        ITEMS,
        {
            "item_id": [f"i{row}" for row in range(len(block))],
            "title": [f"Title {row // num_blocks} of block {b}" for row, b in enumerate(block)],
            "release_year": [2000] * len(block),
            "genres": [[f"genre {b}"] for b in block],
            "sub_genres": [[f"sub-genre {b}"] for b in block],
            "cast": [[f"Actor {b}"] for b in block],
            "directors": [[f"Director {b}"] for b in block],
            "rating": [6.0] * len(block),
            "duration_minutes": [100.0] * len(block),
        },
    )


def log_tables(
    events: Sequence[tuple[int, int, int]],
    *,
    num_items: int,
    num_profiles: int,
    minutes: Sequence[float | None] | None = None,
    countries: Sequence[str | None] | None = None,
    profile_countries: Sequence[str] | None = None,
) -> Tables:
    """Tables of a log of (profile, item, milliseconds since the start); profile 3 is "p3", item 5 is "i5".

    minutes, countries: of the events, profile_countries: of the profiles, where they are known. Every other
    column is null.
    """
    unknown = [None] * len(events)
    return Tables(
        items=table(
            ITEMS,
            {
                "item_id": [f"i{item}" for item in range(num_items)],
                "title": [f"Title {item}" for item in range(num_items)],
            },
        ),
        events=table(
            EVENTS,
            {
                "profile_id": [f"p{profile}" for profile, _, _ in events],
                "item_id": [f"i{item}" for _, item, _ in events],
                "start": pa.array([START_SECONDS * 1000 + ms for _, _, ms in events], TIME),
                "minutes_watched": unknown if minutes is None else list(minutes),
                "country": unknown if countries is None else list(countries),
            },
        ),
        profiles=table(
            PROFILES,
            {
                "profile_id": [f"p{profile}" for profile in range(num_profiles)],
                "country": profile_countries or [None] * num_profiles,
            },
        ),
        queries=table(QUERIES, {}),
    )


def tiny_tables() -> Tables:
    """Five titles, four profiles, seven events, two searches; small enough to work out by hand.

    Catalogue rows: 0 Night Train (crime), 1 Night Train II (crime), 2 Sugar Rush (comedy), 3 The Reef
    (documentary), 4 Untitled (nothing known; watched by nobody). Histories, oldest first:

        ana   GB      Night Train, Night Train II (same minute, in this order), Sugar Rush
        ben   (none)  The Reef, Night Train; countries of his events: none, then FR
        cho   KR      Sugar Rush; watched again a day later, which does not count
        dan   (none)  nothing

    Events are not in order of time in the table.
    """
    return Tables(_tiny_items(), _tiny_events(), _tiny_profiles(), _tiny_queries())


def _tiny_items() -> pa.Table:
    return table(
        ITEMS,
        {
            "item_id": ["t1", "t2", "t3", "t4", "t5"],
            "title": ["Night Train", "Night Train II", "Sugar Rush", "The Reef", "Untitled"],
            "release_year": [1998, 2001, 2015, 2020, None],
            "genres": [["Crime"], ["Crime", "Action"], ["Comedy"], ["Documentary"], None],
            "sub_genres": [["Heist"], ["Heist"], ["Satire"], ["Nature"], None],
            "cast": [["Ada Falk", "Hugo Vance"], ["Ada Falk"], ["Mei Tran"], [], None],
            "directors": [["Karim Sato"], ["Karim Sato"], ["Uma Rao"], ["Ivo Weiss"], None],
            "countries": [["GB"], ["GB", "FR"], ["US"], ["JP"], None],
            "language": ["en", "en", "en", "ja", None],
            "maturity": ["16+", "16+", "12+", "0+", None],
            "rating": [7.5, 6.0, 5.5, 8.0, None],
            "duration_minutes": [110.0, 95.0, 100.0, 50.0, None],
            "synopsis": ["A locksmith plans one final job.", "He plans another.", None, None, None],
        },
    )


def _tiny_events() -> pa.Table:
    rows: list[tuple[str, str, int, float | None, str | None]] = [
        ("ben", "t1", 5 * DAY_SECONDS, 30.0, "FR"),
        ("ana", "t1", 0, 110.0, "GB"),
        ("ana", "t2", 0, 95.0, "GB"),
        ("cho", "t3", 1 * DAY_SECONDS, 100.0, "KR"),
        ("ben", "t4", 2 * DAY_SECONDS, None, None),
        ("cho", "t3", 2 * DAY_SECONDS, 12.5, "KR"),
        ("ana", "t3", 3 * DAY_SECONDS, 40.0, "US"),
    ]
    profile, item, start, minutes, country = zip(*rows, strict=True)
    return table(
        EVENTS,
        {
            "profile_id": profile,
            "item_id": item,
            "start": pa.array([1000 * (START_SECONDS + second) for second in start], TIME),
            "minutes_watched": minutes,
            "country": country,
        },
    )


def _tiny_profiles() -> pa.Table:
    return table(
        PROFILES,
        {
            "profile_id": ["ana", "ben", "cho", "dan"],
            "country": ["GB", None, "KR", None],
            "age_band": ["25-34", None, "18-24", None],
        },
    )


def _tiny_queries() -> pa.Table:
    return table(
        QUERIES,
        {
            "profile_id": ["ana", None],
            "text": ["night train", "reef"],
            "time": pa.array([1000 * (START_SECONDS - 60), 1000 * START_SECONDS], TIME),
            "country": ["GB", None],
            "item_id": ["t1", None],
        },
    )
