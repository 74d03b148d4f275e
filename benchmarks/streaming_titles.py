"""Real titles with people, genres and years, of four data sets; and what people say when they search."""

import gzip
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.csv as csv

from benchmarks.movielens_small import movielens_settings
from towers.data.ingest.rules import RuleSettings
from towers.data.schema import ITEMS, read_table, table
from towers.data.signals.settings import SignalSettings
from towers.data.sources.catalogues import CatalogueSettings
from towers.data.sources.movietweetings import MovieTweetingsSettings
from towers.data.sources.read import SourceSettings, ingest_source
from towers.errors import MissingDataError


def real_titles(num_items: int) -> pa.Table:
    """So many titles (`towers.data.schema.ITEMS`), ids x0, x1, …

    Those of ml-latest-small, svod-catalogues, movietweetings-100k and tmdb-movies, one after another: a
    film that several have stands there as often. Where they are too few, the first again, turned round.
    MissingDataError where a folder is not in $TOWERS_DATA.
    """
    parts = [
        _ingested(movielens_settings()),
        _ingested(CatalogueSettings(str(data_folder("svod-catalogues")))),
        _ingested(MovieTweetingsSettings(str(data_folder("movietweetings-100k")))),
        _tmdb(data_folder("tmdb-movies") / "tmdb_movies.csv.gz"),
    ]
    items = pa.concat_tables(parts)
    while items.num_rows < num_items:
        more = items.slice(0, num_items - items.num_rows)
        turned = [" ".join(reversed(title.split())) for title in more["title"].to_pylist()]
        more = more.set_column(1, ITEMS.field("title"), pa.array(turned))
        items = pa.concat_tables([items, more])
    items = items.slice(0, num_items)
    ids = pa.array([f"x{row}" for row in range(num_items)])
    return items.set_column(0, ITEMS.field("item_id"), ids).combine_chunks()


def spoken_queries() -> list[str]:
    """The utterances of mit-movie-queries, about 20 words each."""
    with gzip.open(data_folder("mit-movie-queries") / "trivia10k13test.bio.gz", "rt") as lines:
        words = [line.split("\t")[-1].strip() for line in lines]
    texts: list[list[str]] = [[]]
    for word in words:
        if word:
            texts[-1].append(word)
        elif texts[-1]:
            texts.append([])
    return [" ".join(text) for text in texts if text]


def data_folder(name: str) -> Path:
    """A data set of $TOWERS_DATA; MissingDataError where it is not there."""
    folder = Path(os.environ.get("TOWERS_DATA", ""), name)
    if "TOWERS_DATA" not in os.environ or not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder; TOWERS_DATA must name the one that holds {name}")
    return folder


def _ingested(settings: SourceSettings) -> pa.Table:
    with TemporaryDirectory() as name:
        ingest_source(settings, Path(name), RuleSettings(), SignalSettings(), None)
        return read_table(Path(name), "items")


def _tmdb(path: Path) -> pa.Table:
    """The titles of tmdb-movies."""
    strings = {name: pa.string() for name in ("original_title", "cast", "director", "genres")}
    found = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=strings))
    lists = {
        "cast": found["cast"], "directors": found["director"], "genres": found["genres"],
    }  # fmt: skip
    split = {
        name: [(text or "").split("|") if text else [] for text in column.to_pylist()]
        for name, column in lists.items()
    }
    return table(
        ITEMS,
        {
            "item_id": [f"tmdb{row}" for row in range(found.num_rows)],
            "title": found["original_title"],
            "release_year": found["release_year"],
            **split,
        },
    )
