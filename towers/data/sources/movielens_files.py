"""The three shapes in which GroupLens ships MovieLens: csv (latest-small, 20M, 25M, 32M), dat (1M), 100K.

Columns, codes and encodings are those of the README in each archive, https://grouplens.org/datasets/movielens/.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from towers.data.sources.text import Column, Kind, Layout, find_file, read_numbers, read_rows
from towers.data.sources.titles import split_title
from towers.errors import MissingDataError, ParseError

_LAST_SECOND = 253_402_300_799  # of the year 9999: milliseconds taken for seconds fall beyond it
_NO_GENRES = {"(no genres listed)", "unknown"}
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

_USER_ID = Column("userId", Kind.INTEGER, low=0)
_MOVIE_ID = Column("movieId", Kind.INTEGER, low=0)
_RATINGS = (
    _USER_ID,
    _MOVIE_ID,
    Column("rating", Kind.NUMBER, low=0.5, high=5),
    Column("timestamp", Kind.INTEGER, low=0, high=_LAST_SECOND),
)
_MOVIES = (_MOVIE_ID, Column("title"), Column("genres", nullable=True))
_GENDER = Column("gender", choices=("F", "M"))
_POSTAL_CODE = Column("postal_code", nullable=True)


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
    """What one folder says, as rows in the order of its files.

    ratings: userId, movieId, rating (stars, 0.5 to 5), timestamp (Unix seconds), from ratings_path.
    movies: movieId, title, release_year (Int16), genres (list of strings, null where none), from movies_path.
    users: userId, gender, age_band, occupation, postal_code, from users_path; both None where the release
    has no users file.
    """

    shape: Shape
    ratings: pl.DataFrame
    movies: pl.DataFrame
    users: pl.DataFrame | None
    ratings_path: Path
    movies_path: Path
    users_path: Path | None


def shape_of(folder: Path) -> Shape | None:
    """The shape whose files are all in the folder; None where there is none."""
    return next((shape for shape in Shape if not _missing(folder, shape)), None)


def read_files(folder: Path) -> MovieLensFiles:
    """Everything that the folder says, typed and in range.

    Raises MissingDataError where no shape is complete, ParseError with file and line on a bad row.
    """
    shape = shape_of(folder)
    if shape is None:
        raise _incomplete(folder)
    paths = [_path(folder, name) for name in shape.files]
    users: pl.DataFrame | None = None
    match shape:
        case Shape.CSV:
            ratings = read_numbers(paths[0], Layout(_RATINGS))
            movies = _with_listed_genres(read_rows(paths[1], Layout(_MOVIES)))
        case Shape.DAT:
            ratings = read_numbers(paths[0], _dat(_RATINGS))
            movies = _with_listed_genres(read_rows(paths[1], _dat(_MOVIES)))
            users = _dat_users(paths[2])
        case Shape.ML_100K:
            ratings = read_numbers(paths[0], Layout(_RATINGS, "\t", has_header=False))
            movies = _100k_movies(paths[1], _100k_genres(paths[3]))
            users = _100k_users(paths[2])
    users_path = None if users is None else paths[2]
    return MovieLensFiles(shape, ratings, movies, users, paths[0], paths[1], users_path)


def _path(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise MissingDataError(f"{folder / name}: no such file, nor {name}.gz")
    return path


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


def _dat(columns: tuple[Column, ...]) -> Layout:
    return Layout(columns, "::", has_header=False, encoding="latin-1")


def _bars(*columns: Column) -> Layout:
    return Layout(columns, "|", has_header=False, encoding="latin-1")


def _with_listed_genres(movies: pl.DataFrame) -> pl.DataFrame:
    """Movies of `movieId, title, genres`, the genres separated by bars."""
    listed = [(text or "").split("|") for text in movies["genres"]]
    return _movies(movies["movieId"], movies["title"], listed)


def _movies(movie_id: pl.Series, titles: pl.Series, genres: list[list[str]]) -> pl.DataFrame:
    split = [split_title(title) for title in titles]
    named = [[genre for genre in movie if genre and genre not in _NO_GENRES] or None for movie in genres]
    return pl.DataFrame(
        {
            "movieId": movie_id,
            "title": pl.Series([title for title, _ in split], dtype=pl.String),
            "release_year": pl.Series([year for _, year in split], dtype=pl.Int16),
            "genres": pl.Series(named, dtype=pl.List(pl.String)),
        }
    )


def _dat_users(path: Path) -> pl.DataFrame:
    columns = (
        _USER_ID,
        _GENDER,
        Column("age_band", choices=tuple(_AGE_BANDS)),
        Column("occupation", Kind.INTEGER, low=0, high=len(_OCCUPATIONS) - 1),
        _POSTAL_CODE,
    )
    return read_rows(path, _dat(columns)).with_columns(
        pl.col("age_band").replace_strict(_AGE_BANDS),
        pl.col("occupation").replace_strict(dict(enumerate(_OCCUPATIONS))),
    )


def _100k_users(path: Path) -> pl.DataFrame:
    age = Column("age", Kind.INTEGER, low=0, high=150)
    users = read_rows(path, _bars(_USER_ID, age, _GENDER, Column("occupation"), _POSTAL_CODE))
    # The exact age is told in the bands of the 1M README, so that both releases speak of the same groups.
    starts, bands = [int(code) for code in _AGE_BANDS], list(_AGE_BANDS.values())
    band = [bands[max(0, bisect_right(starts, age) - 1)] for age in users["age"]]
    return users.with_columns(pl.Series("age_band", band)).select(
        "userId", "gender", "age_band", "occupation", "postal_code"
    )


def _100k_genres(path: Path) -> list[str]:
    """The genres in the order of the flags; ParseError where their numbers are not 0, 1, 2 …"""
    genres = read_rows(path, _bars(Column("genre"), Column("number", Kind.INTEGER, low=0)))
    if genres["number"].to_list() != list(range(genres.height)):
        raise ParseError(
            f"{path}:1: genres numbered {genres['number'].to_list()}; expected 0, 1, 2 and so on"
        )
    return genres["genre"].to_list()


def _100k_movies(path: Path, genres: list[str]) -> pl.DataFrame:
    flags = [Column(genre, Kind.INTEGER, low=0, high=1) for genre in genres]
    dates = (Column("release date", nullable=True), Column("video release date", nullable=True))
    movies = read_rows(
        path, _bars(_MOVIE_ID, Column("title"), *dates, Column("IMDb URL", nullable=True), *flags)
    )
    named = [
        [genre for genre, flag in zip(genres, row, strict=True) if flag]
        for row in movies.select(genres).iter_rows()
    ]
    # A date reads 01-Jan-1995; the year in the title goes before it.
    released = movies["release date"].str.extract(r"-(\d{4})$").cast(pl.Int16)
    return _movies(movies["movieId"], movies["title"], named).with_columns(
        pl.col("release_year").fill_null(released)
    )
