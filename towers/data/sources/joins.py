"""Cast, directors, rating, runtime and synopsis of MovieLens movies, from a TMDB table and a people table."""

import logging
from pathlib import Path

import polars as pl

from towers.data.sources.files import find_file
from towers.data.sources.text import Column, Kind, Layout, read_rows
from towers.errors import MissingDataError

log = logging.getLogger(__name__)

LINKS_FILE = "links.csv"
TMDB_FILE = "tmdb_movies.csv"
PEOPLE_FILE = "people.csv"

_NAMES = pl.List(pl.String)
_MOVIE_ID = Column("movieId", Kind.INTEGER, low=0)
_TMDB = Layout(
    (
        Column("id", Kind.INTEGER, low=0),
        Column("cast", nullable=True),
        Column("director", nullable=True),
        Column("vote_average", Kind.NUMBER, low=0, high=10, nullable=True),
        Column("runtime", Kind.NUMBER, low=0, optional=True),
        Column("overview", optional=True),
        Column("release_date", nullable=True, optional=True),
    )
)
_PEOPLE = Layout((_MOVIE_ID, Column("relation"), Column("name")))
_DISAMBIGUATION = r" \([^()]*\)$"  # "Michael Mann (director)": of the page, not of the person


def read_links(path: Path, key: str = "movieId") -> pl.DataFrame:
    """One row per movie of `key` (movieId or imdbId) and tmdbId, null where unknown.

    Of a repeated movie, the first row counts. Raises ParseError with file and line on a bad row.
    """
    columns = (Column(key, Kind.INTEGER, low=0), Column("tmdbId", Kind.INTEGER, low=0, nullable=True))
    return _first_of_each(read_rows(path, Layout(columns)), key, path)


def read_tmdb(file_or_folder: Path) -> tuple[pl.DataFrame, int]:
    """One row per TMDB movie: tmdbId, cast, directors, rating, duration_minutes, synopsis, released.

    And how many of its texts were decoded once more. Names keep their billing order; ratings are 0 to 10. A
    mean vote or a runtime of 0 says that TMDB has none (votes start at 0.5), and is null. Of a repeated id,
    the first row counts.
    """
    path = _table_file(file_or_folder, TMDB_FILE, "data.tmdb")
    rows = _first_of_each(read_rows(path, _TMDB), "id", path)
    decoded = {name: _decoded(rows[name], path) for name in ("cast", "director", "overview")}
    texts = {name: text for name, (text, _) in decoded.items()}
    frame = pl.DataFrame(
        {
            "tmdbId": rows["id"],
            "cast": pl.Series([_listed(text) for text in texts["cast"]], dtype=_NAMES),
            "directors": pl.Series([_listed(text) for text in texts["director"]], dtype=_NAMES),
            "rating": _null_for_zero(rows["vote_average"]),
            "duration_minutes": _null_for_zero(rows["runtime"]),
            "synopsis": texts["overview"],
            "released": rows["release_date"],
        }
    )
    return frame, sum(num for _, num in decoded.values())


def read_people(file_or_folder: Path) -> pl.DataFrame:
    """One row per movie: movieId, cast and directors, each in the order of the file."""
    path = _table_file(file_or_folder, PEOPLE_FILE, "data.people")
    rows = read_rows(path, _PEOPLE).with_columns(pl.col("name").str.replace(_DISAMBIGUATION, ""))
    return rows.group_by("movieId", maintain_order=True).agg(
        _names_of("actor").alias("cast"), _names_of("director").alias("directors")
    )


def with_tmdb(
    movies: pl.DataFrame, links: pl.DataFrame, tmdb: pl.DataFrame, key: str = "movieId"
) -> pl.DataFrame:
    """Movies with the TMDB columns, found through the links of their `key`; rows and their order stay."""
    linked = links.drop_nulls("tmdbId").join(tmdb, on="tmdbId", how="inner").drop("tmdbId")
    joined = movies.join(linked, on=key, how="left", maintain_order="left", validate="m:1")
    num_joined = movies[key].is_in(linked[key].implode()).sum()
    log.info("joined TMDB num_movies=%d num_joined=%d %s", movies.height, num_joined, _coverage(joined))
    return joined


def with_people(movies: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Movies whose cast or directors were null, with those of the people table; rows and order stay."""
    own = [name for name in ("cast", "directors") if name in movies.columns]
    joined = movies.join(
        people, on="movieId", how="left", maintain_order="left", suffix=" here", validate="m:1"
    )
    joined = joined.with_columns(pl.coalesce(name, f"{name} here") for name in own)
    joined = joined.drop(f"{name} here" for name in own)
    log.info("joined people num_movies=%d %s", movies.height, _coverage(joined))
    return joined


def _coverage(movies: pl.DataFrame) -> str:
    known = {
        name: movies[name].len() - movies[name].null_count()
        for name in ("cast", "directors", "rating")
        if name in movies
    }
    return " ".join(f"num_with_{name}={count}" for name, count in known.items())


def _table_file(file_or_folder: Path, name: str, setting: str) -> Path:
    path = file_or_folder if file_or_folder.is_file() else find_file(file_or_folder, name)
    if path is None:
        raise MissingDataError(
            f"{file_or_folder}: no {name} nor {name}.gz there; {setting} names such a file or its folder, "
            "or is null for no join"
        )
    return path


def _first_of_each(rows: pl.DataFrame, key: str, path: Path) -> pl.DataFrame:
    kept = rows.unique(key, keep="first", maintain_order=True)
    if kept.height < rows.height:
        log.warning(
            "left out repeated rows file=%s key=%s num_repeats=%d", path, key, rows.height - kept.height
        )
    return kept


def _null_for_zero(values: pl.Series) -> pl.Series:
    return values.replace(0.0, None)


def _listed(text: str | None) -> list[str] | None:
    """The distinct names between bars, in their order; None where there are none."""
    names = (" ".join(part.split()) for part in (text or "").split("|"))
    return list(dict.fromkeys(name for name in names if name)) or None


def _names_of(relation: str) -> pl.Expr:
    names = pl.col("name").filter(pl.col("relation") == relation).unique(maintain_order=True)
    return pl.when(names.len() > 0).then(names.implode())


def _decoded(texts: pl.Series, path: Path) -> tuple[pl.Series, int]:
    """The texts, each part between bars decoded once more where it was decoded wrongly, and how many were."""
    decoded = pl.Series(
        texts.name,
        [text if text is None else "|".join(_repaired(part) for part in text.split("|")) for text in texts],
        dtype=pl.String,
    )
    num_repaired = int((decoded != texts).sum())
    if num_repaired:
        log.info("decoded double-encoded text file=%s column=%s num_rows=%d", path, texts.name, num_repaired)
    return decoded, num_repaired


def _repaired(text: str) -> str:
    """The text, decoded once more where it is UTF-8 that was read as Windows-1252: "LÃ©a" is "Léa".

    Published TMDB tables carry such names, which would be other people than their twins in the people table.
    A text that is not such a double encoding as a whole stays as it is.
    """
    if text.isascii():
        return text
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return text
