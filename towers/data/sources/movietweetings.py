"""MovieTweetings: ratings that people tweeted, movies by their IMDb id; a rating is read as a watch.

Format: ratings.dat `user::imdb::rating (0-10)::Unix seconds`, movies.dat `imdb::Title (Year)::Genre|Genre`.
Source: S. Dooms, T. De Pessemier and L. Martens, MovieTweetings: a movie rating dataset collected from
Twitter, CrowdRec at RecSys 2013.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from towers.data.raw import RawSource, RawTable, TimeUnit
from towers.data.sources.files import required_file
from towers.data.sources.joins import LINKS_FILE, read_links, read_tmdb, with_tmdb
from towers.data.sources.lines import TextFormat, scan_text
from towers.errors import ConfigError

_DAT = TextFormat("::", has_header=False, quoted=False)
_YEAR = r" \((\d{4})\)\s*$"


@dataclass(frozen=True, slots=True)
class MovieTweetingsSettings:
    """Where MovieTweetings is: the folder of ratings.dat and movies.dat, plain or .gz.

    tmdb: a table of cast and crew (csv, plain or .gz), or its folder; null for no join. links: MovieLens'
    links.csv, or its folder, through which IMDb ids find those of TMDB; needed for the join.
    """

    root: str
    tmdb: str | None = None
    links: str | None = None

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return Path(self.root).resolve().name + (" with TMDB" if self.tmdb else "")


def read_movietweetings(settings: MovieTweetingsSettings) -> RawSource:
    """The ratings and movies of one folder; users.dat only ties ids to accounts, and is never read.

    Raises MissingDataError where a file is not there, ConfigError where the join lacks its links.
    """
    root = Path(settings.root)
    ratings = required_file(root, "ratings.dat")
    events = RawTable(
        ratings,
        scan_text(ratings, ["profile_id", "item_id", "stars", "start"], _DAT),
        time_unit=TimeUnit.SECONDS,
    )
    path = required_file(root, "movies.dat")
    movies = scan_text(path, ["item_id", "title", "genres"], _DAT).with_columns(
        # A title that is nothing but a year keeps it.
        pl.col("title").str.replace(f"(.){_YEAR}", "$1"),
        release_year=pl.col("title").str.extract(_YEAR),
    )
    joined, num_decoded = _joined(movies, settings)
    items = RawTable(path, joined, separator={"genres": "|"})
    return RawSource((items,), (events,), repaired={"decoded twice": num_decoded})


def _joined(movies: pl.LazyFrame, settings: MovieTweetingsSettings) -> tuple[pl.LazyFrame, int]:
    """The movies with what TMDB says of them, and how many of its texts had to be decoded twice."""
    if settings.tmdb is None:
        return movies, 0
    if settings.links is None:
        raise ConfigError(
            f"data.links: found null; expected MovieLens' {LINKS_FILE}, or its folder: data.tmdb is joined "
            "through it"
        )
    links = Path(settings.links)
    links = links if links.is_file() else required_file(links, LINKS_FILE)
    tmdb, num_decoded = read_tmdb(Path(settings.tmdb))
    # "0114709" here may be 114709 there.
    keyed = movies.with_columns(imdbId=pl.col("item_id").cast(pl.Int64, strict=False)).collect()
    return with_tmdb(keyed, read_links(links, "imdbId"), tmdb, "imdbId").drop("imdbId").lazy(), num_decoded
