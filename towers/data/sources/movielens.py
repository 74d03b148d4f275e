"""MovieLens folders as GroupLens ships them; a rating is read as a watch.

Source: F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015, doi:10.1145/2827872.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from towers.data.download import download
from towers.data.raw import RawSource, RawTable, TimeUnit
from towers.data.sources.files import find_file
from towers.data.sources.joins import LINKS_FILE, read_links, read_people, read_tmdb, with_people, with_tmdb
from towers.data.sources.movielens_files import MovieLensFiles, Shape, scan_files, shape_of
from towers.data.sources.movielens_releases import ARCHIVES, HOME, MovieLensRelease
from towers.errors import ConfigError, MissingDataError
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


def read_movielens(settings: MovieLensSettings) -> RawSource:
    """The rows of one MovieLens folder, in the order of its files.

    Stars are the ratings doubled, to the schema's 0 to 10. What MovieLens has not (minutes, countries,
    language, maturity) is not there. Profiles are those of the users file, where the release has one.

    Raises MissingDataError where the folder, or a file to join, is not there; ParseError on a bad header, and
    on a bad row of a table to join; DownloadError; ConfigError on settings that contradict the folder.
    """
    check_ranges(settings, "data")
    root = Path(settings.root)
    _fetch(root, settings)
    files = scan_files(root)
    movies, num_decoded = _joined(root, files, settings)
    events = RawTable(
        files.ratings_path,
        _liked(files, settings.min_stars),
        scale={"stars": 2.0},
        time_unit=TimeUnit.SECONDS,
    )
    profiles = () if files.users is None else (RawTable(files.users_path or root, files.users),)
    log.info("opened MovieLens shape=%s num_items=%d", files.shape, movies.height)
    items = RawTable(files.movies_path, movies.lazy())
    return RawSource((items,), (events,), profiles, repaired={"decoded twice": num_decoded})


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


def _joined(root: Path, files: MovieLensFiles, settings: MovieLensSettings) -> tuple[pl.DataFrame, int]:
    """The movies with what the tables to join say of them, and how many texts there were decoded twice."""
    movies, num_decoded = files.movies, 0
    if settings.tmdb is None and settings.people is None:
        return movies, num_decoded
    movies = movies.with_columns(movieId=pl.col("item_id").cast(pl.Int64, strict=False))
    if settings.tmdb is not None:
        links = find_file(root, LINKS_FILE)
        if links is None:
            raise MissingDataError(
                f"{root / LINKS_FILE}: no such file, nor {LINKS_FILE}.gz; the join with data.tmdb needs it "
                "(latest-small, 20M, 25M and 32M have it); say data.tmdb=null for no join"
            )
        tmdb, num_decoded = read_tmdb(Path(settings.tmdb))
        movies = with_tmdb(movies, read_links(links), tmdb)
    if settings.people is not None:
        if files.shape is Shape.ML_100K:
            raise ConfigError(
                "data.people: ml-100k numbers its movies in a way of its own, and the people would be those "
                "of other movies; expected null, or another release"
            )
        movies = with_people(movies, read_people(Path(settings.people)))
    return movies.drop("movieId"), num_decoded


def _liked(files: MovieLensFiles, min_stars: float) -> pl.LazyFrame:
    """The ratings of at least min_stars, and those that cannot be read."""
    if min_stars == 0.0:
        return files.ratings
    is_low = (pl.col("stars").cast(pl.Float64, strict=False) * 2.0 < min_stars).fill_null(False)
    num_low = files.ratings.select(is_low.sum()).collect(engine="streaming").item()
    log.info("left out low ratings num_ratings=%d min_stars=%g", num_low, min_stars)
    return files.ratings.filter(~is_low)
