"""Catalogues of streaming services (Netflix, Prime Video, Disney+, Hulu): titles with all their metadata.

Format: <service>_titles.csv `show_id, type, title, director, cast, country, date_added, release_year, rating
(the certificate), duration ("90 min" or "2 Seasons"), listed_in, description`, lists with commas; as
published by S. Bansal, 2021 (CC0).
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable
from towers.data.sources.attributes import attributes
from towers.data.sources.files import matching_files
from towers.data.sources.lines import TextFormat, scan_text
from towers.errors import MissingDataError

_COLUMNS = [
    "show_id", "type", "title", "director", "cast", "country", "date_added", "release_year", "rating",
    "duration", "listed_in", "description",
]  # fmt: skip
_SUFFIX = "_titles.csv"
_DURATION = r"^\d+ (?:min|Seasons?)$"
_ARTS = "Arts, Entertainment, and Culture"  # one category, for all its commas
_GENRES = {
    "Action": "Action|Superhero|Spy",
    "Adventure": "Adventure",
    "Animation": "Animation|Anime|Cartoon",
    "Children": r"Kids|Children|Family",
    "Comedy": "Comed|Sitcom|Stand.?Up|Parody",
    "Crime": "Crime|Police",
    "Documentary": "Documentar|Docuseries",
    "Drama": "Drama|Soap Opera",
    "Fantasy": "Fantasy",
    "History": "Histor",
    "Horror": "Horror",
    "Music": "Music|Concert",
    "Mystery": "Myster",
    "Reality": "Reality|Unscripted|Game Show",
    "Romance": "Roman",
    "Science Fiction": "Sci-Fi|Science Fiction",
    "Sports": "Sport",
    "Thriller": "Thriller|Suspense",
    "War": "Military",
    "Western": "Western",
}
"""Genre → the sub-genres (`listed_in`) of it, as a pattern; a sub-genre may belong to several, or to none."""


@dataclass(frozen=True, slots=True)
class CatalogueSettings:
    """Where the catalogues are: a folder of <service>_titles.csv files, plain or .gz; all are read."""

    root: str

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return Path(self.root).resolve().name


def read_catalogues(settings: CatalogueSettings) -> RawSource:
    """The titles of every catalogue in one folder, ids as `netflix:s1`; there are no watches.

    A film has its minutes, a series the attribute num_seasons; type, date_added and service are attributes
    too. A duration that stands in the place of the certificate is put right, and counted.

    Raises MissingDataError where the folder has no catalogue.
    """
    root = Path(settings.root)
    paths = matching_files(root, f"*{_SUFFIX}")
    if not paths:
        raise MissingDataError(f"{root}: no *{_SUFFIX}; expected catalogues of that name, plain or .gz")
    scanned = [(path, scan_text(path, _COLUMNS, TextFormat(multi_line=True)).collect()) for path in paths]
    num_misplaced = sum(int(frame.select(_misplaced().sum()).item()) for _, frame in scanned)
    return RawSource(
        tuple(_items(path, frame) for path, frame in scanned),
        repaired={"duration in the rating column": num_misplaced},
    )


def _misplaced() -> pl.Expr:
    return pl.col("duration").is_null() & pl.col("rating").str.contains(_DURATION).fill_null(False)


def _items(path: Path, found: pl.DataFrame) -> RawTable:
    service = path.name.removesuffix(".gz").removesuffix(_SUFFIX)
    listed = pl.col("listed_in").str.replace(_ARTS, _ARTS.replace(",", ""), literal=True)
    frame = found.lazy().with_columns(
        rating=pl.when(~_misplaced()).then("rating"),
        duration=pl.when(_misplaced()).then("rating").otherwise("duration"),
        listed_in=listed,
        service=pl.lit(service),
    )
    is_season = pl.col("duration").str.contains("Season")
    frame = frame.with_columns(
        num_seasons=pl.when(is_season).then(pl.col("duration").str.extract(r"^(\d+) Seasons?$")),
        # What is neither "90 min" nor seasons stays as it is, for the checks to find.
        minutes=pl.when(~is_season).then(pl.col("duration").str.strip_suffix(" min")),
    )
    genres = pl.concat_list(
        pl.when(pl.col("listed_in").str.contains(pattern)).then(pl.lit(genre))
        for genre, pattern in _GENRES.items()
    ).list.drop_nulls()
    items = frame.select(
        *(ROW, FAULT, TEXT, "title", "release_year", "cast"),
        attributes({name: name for name in ("service", "type", "date_added", "num_seasons")}),
        item_id=pl.lit(f"{service}:") + pl.col("show_id"),
        genres=genres,
        sub_genres="listed_in",
        directors="director",
        countries="country",
        maturity="rating",
        duration_minutes="minutes",
        synopsis="description",
    )
    lists = ("sub_genres", "cast", "directors", "countries")
    return RawTable(path, items, separator=dict.fromkeys(lists, ","))
