"""The three shapes in which GroupLens ships MovieLens: csv (latest-small, 20M, 25M, 32M), dat (1M), 100K.

Columns, codes and encodings are those of the README in each archive, https://grouplens.org/datasets/movielens/.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from towers.data.raw import FAULT, ROW, TEXT
from towers.data.sources.files import find_file, required_file
from towers.data.sources.lines import CSV, TextFormat, scan_text
from towers.data.sources.text import Column, Kind, Layout, read_rows
from towers.data.sources.titles import split_title
from towers.errors import MissingDataError, ParseError

_KEPT = (ROW, FAULT, TEXT)
_NO_GENRES = ("(no genres listed)", "unknown")
_AGE_BANDS = {
    "1": "Under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}
# By their code in the 1M README, from 0; what is "other" or was not specified is one code there.
_OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer",
    "programmer", "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer",
    "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip
_DAT = TextFormat("::", has_header=False, encoding="latin-1", quoted=False)
_TABS = TextFormat("\t", has_header=False, encoding="latin-1", quoted=False)
_BARS = TextFormat("|", has_header=False, encoding="latin-1", quoted=False)
_RATINGS = ["userId", "movieId", "rating", "timestamp"]
_MOVIES = ["movieId", "title", "genres"]


class Shape(StrEnum):
    """How a MovieLens folder is written."""

    CSV = "csv"
    DAT = "dat"
    ML_100K = "100k"

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it must hold, each plain or .gz; ratings, movies and users in this order."""
        match self:
            case Shape.CSV:
                return ("ratings.csv", "movies.csv")
            case Shape.DAT:
                return ("ratings.dat", "movies.dat", "users.dat")
            case Shape.ML_100K:
                return ("u.data", "u.item", "u.user", "u.genre")


@dataclass(frozen=True, slots=True)
class MovieLensFiles:
    """What one folder says, as texts in the order of its files, not checked; each frame has ROW and FAULT.

    ratings: profile_id, item_id, stars (0.5 to 5), start (Unix seconds), from ratings_path.
    movies: item_id, title, release_year, genres (list of strings, null where none), from movies_path.
    users: profile_id, gender, age_band, occupation, postal_code, from users_path; both None where the release
    has no users file.
    """

    shape: Shape
    ratings: pl.LazyFrame
    movies: pl.DataFrame
    users: pl.LazyFrame | None
    ratings_path: Path
    movies_path: Path
    users_path: Path | None


def shape_of(folder: Path) -> Shape | None:
    """The shape whose files are all in the folder; None where there is none."""
    return next((shape for shape in Shape if not _missing(folder, shape)), None)


def scan_files(folder: Path) -> MovieLensFiles:
    """Everything that the folder says.

    Raises MissingDataError where no shape is complete, ParseError on a bad header, a damaged gzip file, and a
    u.genre that cannot be read.
    """
    shape = shape_of(folder)
    if shape is None:
        raise _incomplete(folder)
    paths = [required_file(folder, name) for name in shape.files]
    users: pl.LazyFrame | None = None
    match shape:
        case Shape.CSV:
            ratings = scan_text(paths[0], _RATINGS, CSV)
            movies = _with_listed_genres(scan_text(paths[1], _MOVIES, CSV))
        case Shape.DAT:
            ratings = scan_text(paths[0], _RATINGS, _DAT)
            movies = _with_listed_genres(scan_text(paths[1], _MOVIES, _DAT))
            users = _dat_users(paths[2])
        case Shape.ML_100K:
            ratings = scan_text(paths[0], _RATINGS, _TABS)
            movies = _100k_movies(paths[1], _100k_genres(paths[3]))
            users = _100k_users(paths[2])
    named = dict(zip(("profile_id", "item_id", "stars", "start"), _RATINGS, strict=True))
    users_path = None if users is None else paths[2]
    return MovieLensFiles(
        shape, ratings.select(*_KEPT, **named), movies, users, paths[0], paths[1], users_path
    )


def _missing(folder: Path, shape: Shape) -> list[str]:
    return [name for name in shape.files if find_file(folder, name) is None]


def _incomplete(folder: Path) -> MissingDataError:
    """What the folder lacks of the shape it comes nearest to, or that it is no MovieLens folder at all."""
    for shape in Shape:
        missing = _missing(folder, shape)
        if len(missing) < len(shape.files):
            return MissingDataError(
                f"{folder}: {', '.join(missing)} missing; a MovieLens folder of shape {shape} has "
                f"{', '.join(shape.files)}, each plain or .gz"
            )
    return MissingDataError(
        f"{folder}: no MovieLens ratings there; expected "
        + ", or ".join(", ".join(shape.files) for shape in Shape)
        + ", each plain or .gz"
    )


def _with_listed_genres(movies: pl.LazyFrame) -> pl.DataFrame:
    """Movies of `movieId, title, genres`, the genres separated by bars."""
    return _movies(movies.with_columns(pl.col("genres").str.split("|")).collect())


def _movies(found: pl.DataFrame) -> pl.DataFrame:
    split = [(None, None) if title is None else split_title(title) for title in found["title"]]
    genres = pl.col("genres").list.eval(pl.element().filter(~pl.element().is_in([*_NO_GENRES, ""])))
    return found.select(
        *_KEPT,
        pl.col("movieId").alias("item_id"),
        pl.Series("title", [title for title, _ in split], dtype=pl.String),
        pl.Series("release_year", [year for _, year in split], dtype=pl.Int16),
        pl.when(genres.list.len() > 0).then(genres).alias("genres"),
    )


def _dat_users(path: Path) -> pl.LazyFrame:
    columns = ["profile_id", "gender", "age_band", "occupation", "postal_code"]
    # A code that the README does not have stays a code.
    return scan_text(path, columns, _DAT).with_columns(
        pl.col("age_band").replace(_AGE_BANDS),
        pl.col("occupation").replace({str(code): name for code, name in enumerate(_OCCUPATIONS)}),
    )


def _100k_users(path: Path) -> pl.LazyFrame:
    columns = ["profile_id", "age_band", "gender", "occupation", "postal_code"]
    # The exact age is told in the bands of the 1M README, so that both releases speak of the same groups.
    starts, bands = [int(code) for code in _AGE_BANDS], list(_AGE_BANDS.values())
    band_of = {str(age): bands[max(0, bisect_right(starts, age) - 1)] for age in range(150)}
    return scan_text(path, columns, _BARS).with_columns(pl.col("age_band").replace(band_of))


def _100k_genres(path: Path) -> list[str]:
    """The genres in the order of the flags; ParseError where their numbers are not 0, 1, 2 …"""
    columns = (Column("genre"), Column("number", Kind.INTEGER, low=0))
    genres = read_rows(path, Layout(columns, "|", has_header=False, encoding="latin-1"))
    if genres["number"].to_list() != list(range(genres.height)):
        raise ParseError(
            f"{path}:1: genres numbered {genres['number'].to_list()}; expected 0, 1, 2 and so on"
        )
    return genres["genre"].to_list()


def _100k_movies(path: Path, genres: list[str]) -> pl.DataFrame:
    columns = ["movieId", "title", "released", "video released", "IMDb URL", *genres]
    flags = [pl.col(genre) for genre in genres]
    are_flags = pl.all_horizontal(flag.is_in(["0", "1"]) & flag.is_not_null() for flag in flags)
    found = scan_text(path, columns, _BARS).with_columns(
        pl.coalesce(FAULT, pl.when(~are_flags).then(pl.lit("a genre flag is neither 0 nor 1"))).alias(FAULT),
        genres=pl.concat_list(
            pl.when(flag == "1").then(pl.lit(genre)) for genre, flag in zip(genres, flags, strict=True)
        ).list.drop_nulls(),
    )
    read = found.collect()
    # A date reads 01-Jan-1995; the year in the title goes before it.
    released = read["released"].str.extract(r"-(\d{4})$").cast(pl.Int16)
    return _movies(read).with_columns(pl.col("release_year").fill_null(released))
