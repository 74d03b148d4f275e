"""What search is judged on: titles of ml-latest-small with their people; BM25's answers beside ours."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from benchmarks.claims import BenchmarkError
from benchmarks.environment import peer_python
from benchmarks.movielens_small import movielens_settings
from retrieval.catalogue import Catalogue
from retrieval.eligibility.compile import Eligibility
from retrieval.search.order import best_first
from retrieval.search.search import TextSearch, text_search
from towers.data.ingest.rules import RuleSettings
from towers.data.schema import Tables, read_tables
from towers.data.signals.settings import SignalSettings
from towers.data.sources.read import ingest_source
from towers.data.words import words_of
from towers.recommender import PAD

BM25S = ("bm25s==0.3.16", "numpy==2.4.6")
PEER = Path(__file__).resolve().parent / "peers" / "search_bm25s.py"
K = 10

_IN_BRACKETS = re.compile(r"\([^()]*\)")
_ARTICLE = re.compile(r"^(the|a|an|le|la|les|l|el|il|der|das) ")


@dataclass(frozen=True, slots=True)
class Searched:
    """A catalogue of N titles and what searches it. num_events: int64 (N,), the ratings of each."""

    items: pa.Table
    num_events: Int64[np.ndarray, " N"]
    search: TextSearch

    def answers(self, texts: Sequence[str], k: int = K) -> Int64[np.ndarray, "Q K"]:
        """What `Retriever.search` answers to nobody in particular, without what it falls back to."""
        found = np.full((len(texts), k), PAD, np.int64)
        for line, text in enumerate(texts):
            row, _ = best_first(self.search.find(text).matches, k, self.search.place)
            found[line, : len(row)] = row
        return found


def movielens() -> Searched:
    """ml-latest-small with cast and directors; MissingDataError where a folder is not there."""
    return searched_tables(movielens_tables())


def movielens_tables() -> Tables:
    """The tables of it; raises as `movielens` does."""
    with TemporaryDirectory() as name:
        ingest_source(movielens_settings(), Path(name), RuleSettings(), SignalSettings(), None)
        return read_tables(Path(name))


def searched_tables(tables: Tables) -> Searched:
    """The titles of these tables, each as popular as it has events, ready to be searched."""
    counts = Counter(tables.events["item_id"].to_pylist())
    num_events = np.array([counts[item_id] for item_id in tables.items["item_id"].to_pylist()], np.int64)
    return searched(tables.items, num_events)


def searched(items: pa.Table, num_events: np.ndarray) -> Searched:
    """Titles ready to be searched."""
    catalogue = Catalogue(items)
    return Searched(items, num_events, text_search(catalogue, num_events, Eligibility(catalogue)))


def main_name(title: str) -> str:
    """A title without other names in brackets, as it is typed."""
    return _IN_BRACKETS.sub("", title).strip() or title


def same_name(title: str) -> str:
    """Equal for titles that a text cannot tell apart: remakes, and names that differ in an article."""
    return _ARTICLE.sub("", " ".join(words_of(main_name(title))))


def bm25_answers(items: pa.Table, texts: Sequence[str], k: int = K) -> Int64[np.ndarray, "Q K"]:
    """What BM25 over title, people, genres and year answers."""
    documents = [
        " ".join(
            [
                row["title"],
                *(word for name in ("cast", "directors", "genres") for word in row[name] or ()),
                str(row["release_year"] or ""),
            ]
        )
        for row in items.select(["title", "cast", "directors", "genres", "release_year"]).to_pylist()
    ]
    python = peer_python("bm25s", BM25S)
    with TemporaryDirectory() as name:
        asked, answers = Path(name, "asked.json"), Path(name, "answers.json")
        asked.write_text(json.dumps({"documents": documents, "queries": list(texts), "k": k}))
        if code := subprocess.run([python, PEER, asked, answers], check=False).returncode:
            raise BenchmarkError(f"{PEER.name} ended with exit code {code}; expected 0")
        rows = json.loads(answers.read_text())
    found = np.full((len(texts), k), PAD, np.int64)
    for line, one in enumerate(rows):
        found[line, : len(one)] = one
    return found
