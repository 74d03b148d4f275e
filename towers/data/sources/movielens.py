"""MovieLens folders as GroupLens ships them → Tables; a rating is read as a watch.

Source: F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015, doi:10.1145/2827872.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from towers.data.download import download
from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, Tables, table
from towers.data.sources.joins import LINKS_FILE, read_links, read_people, read_tmdb, with_people, with_tmdb
from towers.data.sources.movielens_files import MovieLensFiles, Shape, read_files, shape_of
from towers.data.sources.movielens_releases import ARCHIVES, HOME, MovieLensRelease
from towers.data.sources.text import find_file
from towers.errors import ConfigError, MissingDataError, SchemaError
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MovieLensSettings:
    """Where MovieLens is, and what is read of it.

    root: the folder. tmdb, people: a table of cast and crew (csv, plain or .gz), or its folder; null for no
    join. download: fetch `release` where `root` holds no data yet. min_stars: events rated lower are left
    out, in the schema's 0 to 10 stars (8 is four of the five on MovieLens); 0 keeps every rating.
    """

    root: str
    tmdb: str | None = None
    people: str | None = None
    download: bool = False
    release: MovieLensRelease = MovieLensRelease.ML_LATEST_SMALL
    min_stars: float = bounded(0.0, ge=0.0, le=10.0)

    @property
    def title(self) -> str:
        """What a report calls this data."""
        joined = [name for name, given in (("TMDB", self.tmdb), ("people", self.people)) if given]
        return " with ".join([Path(self.root).resolve().name, *([" and ".join(joined)] if joined else [])])


def read_movielens(settings: MovieLensSettings) -> Tables:
    """The tables of one MovieLens folder, rows in the order of its files; queries are empty.

    Stars are the ratings doubled, to the schema's 0 to 10. What MovieLens has not (minutes, countries,
    language, maturity) is null. Profiles are those of the users file, or else those with a rating.

    Raises MissingDataError where the folder, or a file to join, is not there; ParseError (file and line) on a
    row that cannot be read; SchemaError on repeated movies or users and on ratings of unknown ones;
    DownloadError; ConfigError on settings that contradict the folder.
    """
    check_ranges(settings, "data")
    began = time.monotonic()
    root = Path(settings.root)
    _fetch(root, settings)
    files = read_files(root)
    _check_references(files)
    tables = Tables(
        items=_items(_joined(root, files, settings)),
        events=_events(files, settings.min_stars),
        profiles=_profiles(files),
        queries=table(QUERIES, {}),
    )
    log.info(
        "read MovieLens shape=%s num_items=%d num_profiles=%d num_events=%d seconds=%.2f",
        files.shape, tables.items.num_rows, tables.profiles.num_rows, tables.events.num_rows,
        time.monotonic() - began,
    )  # fmt: skip
    return tables


def _fetch(root: Path, settings: MovieLensSettings) -> None:
    """Downloads what is not there, if the settings say so; MissingDataError where there is no folder yet."""
    if settings.download and shape_of(root) is None:
        if root.name in list(MovieLensRelease) and root.name != settings.release:
            raise ConfigError(
                f"data.release: {settings.release} would be unpacked as {root}; expected "
                f"data.release={root.name}, or a folder of another name"
            )
        download(ARCHIVES[settings.release], root, lambda folder: shape_of(folder) is not None)
    if not root.is_dir():
        raise MissingDataError(
            f"{root}: no such folder; unpack {settings.release}.zip of {HOME} there, "
            "or say data.download=true"
        )


def _check_references(files: MovieLensFiles) -> None:
    _check_unique(files.movies["movieId"], files.movies_path)
    _check_known(files, files.movies["movieId"], files.movies_path)
    if files.users is not None and files.users_path is not None:
        _check_unique(files.users["userId"], files.users_path)
        _check_known(files, files.users["userId"], files.users_path)


def _check_unique(ids: pl.Series, path: Path) -> None:
    repeated = ids.filter(ids.is_duplicated())
    if len(repeated):
        raise SchemaError(
            f"{path}: {ids.name} {repeated[0]} stands in {(ids == repeated[0]).sum()} rows "
            f"({repeated.n_unique()} ids repeat); expected each once"
        )


def _check_known(files: MovieLensFiles, known: pl.Series, path: Path) -> None:
    ids = files.ratings[known.name]
    unknown = ids.filter(~ids.is_in(known.implode()))
    if len(unknown):
        raise SchemaError(
            f"{files.ratings_path}: {len(unknown)} ratings of {unknown.n_unique()} {known.name} not in "
            f"{path.name}, the first {unknown[0]}; expected every {known.name} there"
        )


def _joined(root: Path, files: MovieLensFiles, settings: MovieLensSettings) -> pl.DataFrame:
    """The movies with what the tables to join say of them."""
    movies = files.movies
    if settings.tmdb is not None:
        links = find_file(root, LINKS_FILE)
        if links is None:
            raise MissingDataError(
                f"{root / LINKS_FILE}: no such file, nor {LINKS_FILE}.gz; the join with data.tmdb needs it "
                "(latest-small, 20M, 25M and 32M have it); say data.tmdb=null for no join"
            )
        movies = with_tmdb(movies, read_links(links), read_tmdb(Path(settings.tmdb)))
    if settings.people is not None:
        if files.shape is Shape.ML_100K:
            raise ConfigError(
                "data.people: ml-100k numbers its movies in a way of its own, and the people would be those "
                "of other movies; expected null, or another release"
            )
        movies = with_people(movies, read_people(Path(settings.people)))
    return movies


def _items(movies: pl.DataFrame) -> pa.Table:
    return table(ITEMS, _columns(movies.select(_id("movieId", "item_id"), pl.exclude("movieId"))))


def _events(files: MovieLensFiles, min_stars: float) -> pa.Table:
    stars = pl.col("rating") * 2.0
    kept = files.ratings.filter(stars >= min_stars)
    num_left_out = files.ratings.height - kept.height
    if num_left_out:
        log.info("left out low ratings num_ratings=%d min_stars=%g", num_left_out, min_stars)
    if kept.height == 0:
        raise SchemaError(
            f"{files.ratings_path}: no rating reaches data.min_stars={min_stars:g}; expected some"
        )
    start = (pl.col("timestamp") * 1000).cast(pl.Datetime("ms", "UTC"))
    return table(
        EVENTS,
        _columns(
            kept.select(_id("userId", "profile_id"), _id("movieId", "item_id"), start=start, stars=stars)
        ),
    )


def _profiles(files: MovieLensFiles) -> pa.Table:
    if files.users is None:
        ids = files.ratings.select(pl.col("userId").unique(maintain_order=True))
        return table(PROFILES, _columns(ids.select(_id("userId", "profile_id"))))
    return table(PROFILES, _columns(files.users.select(_id("userId", "profile_id"), pl.exclude("userId"))))


def _id(column: str, name: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).alias(name)


def _columns(frame: pl.DataFrame) -> dict[str, object]:
    arrow = frame.to_arrow()
    return {name: arrow[name] for name in arrow.column_names}
