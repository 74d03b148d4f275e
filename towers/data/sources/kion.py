"""KION, the service of MTS: watches with their duration and share, profiles, and a rich catalogue.

Format: interactions.csv `user_id, item_id, last_watch_dt (date), total_dur (seconds), watched_pct (0-100)`,
users.csv `user_id, age, income, sex, kids_flg`, items.csv `item_id, content_type, title, title_orig,
release_year, genres, countries, for_kids, age_rating, studios, directors, actors, description, keywords`;
of the translated release, users_en.csv and items_en.csv.
Source: MTS Kion Implicit Contextualised Sequential Dataset for Movie Recommendation,
https://github.com/irsafilo/KION_DATASET.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable
from towers.data.sources.attributes import attributes
from towers.data.sources.files import required_file
from towers.data.sources.lines import TextFormat, scan_text

_OF_INTERACTIONS = ["user_id", "item_id", "last_watch_dt", "total_dur", "watched_pct"]
_OF_USERS = ["user_id", "age", "income", "sex", "kids_flg"]
_OF_ITEMS = [
    "item_id", "content_type", "title", "title_orig", "release_year", "genres", "countries", "for_kids",
    "age_rating", "studios", "directors", "actors", "description", "keywords",
]  # fmt: skip
_LISTS = ("genres", "countries", "directors", "cast")
_KEPT = (ROW, FAULT, TEXT)


@dataclass(frozen=True, slots=True)
class KionSettings:
    """Where KION is: the folder of interactions.csv, and of users and items, original or translated."""

    root: str

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return Path(self.root).resolve().name


def read_kion(settings: KionSettings) -> RawSource:
    """The watches, titles and profiles of one folder; a watch has the date of its last minute only.

    An age rating is the certificate; titles of series have no length. What the schema has no column for
    (content_type, title_orig, for_kids, studios, keywords) are attributes. Raises MissingDataError where a
    file is not there.
    """
    root = Path(settings.root)
    interactions = required_file(root, "interactions.csv")
    users = required_file(root, "users.csv", "users_en.csv")
    items = required_file(root, "items.csv", "items_en.csv")
    return RawSource(
        items=(RawTable(items, _items(items), separator=dict.fromkeys(_LISTS, ",")),),
        events=(
            RawTable(
                interactions, _events(interactions), scale={"minutes_watched": 1 / 60, "completion": 0.01}
            ),
        ),
        profiles=(RawTable(users, _profiles(users)),),
    )


def _events(path: Path) -> pl.LazyFrame:
    return scan_text(path, _OF_INTERACTIONS).select(
        *_KEPT,
        "item_id",
        profile_id="user_id",
        start="last_watch_dt",
        minutes_watched="total_dur",
        completion="watched_pct",
    )


def _profiles(path: Path) -> pl.LazyFrame:
    return scan_text(path, _OF_USERS).select(
        *_KEPT, "income", profile_id="user_id", age_band="age", gender="sex", kids=_whole("kids_flg")
    )


def _items(path: Path) -> pl.LazyFrame:
    # A synopsis may span lines.
    return scan_text(path, _OF_ITEMS, TextFormat(multi_line=True)).select(
        *_KEPT,
        *("item_id", "title", "genres", "countries", "directors"),
        attributes(
            {name: name for name in ("content_type", "title_orig", "for_kids", "studios", "keywords")}
        ),
        release_year=_whole("release_year"),
        maturity=_whole("age_rating"),
        cast="actors",
        synopsis="description",
    )


def _whole(column: str) -> pl.Expr:
    # Data frames write a column of whole numbers with gaps as 16.0.
    return pl.col(column).str.strip_suffix(".0")
