"""Recall and speed of a searcher over one vector file: what every ANN peer is measured by.

A peer's environment has numpy and the peer: this file imports nothing of ours. Each peer is a script beside
it: `python ann_<peer>.py vectors.npz settings.json` prints a line of JSON for the build, and one for each
search setting.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

K, NUM_THREADS, BATCH = 100, 2, 1024
_NUM_WARM = 50
# There is nothing to compare beyond this recall, and a search that gains less than this is at its end.
_ENOUGH, _LEAST_GAIN = 0.992, 0.0005


class Searcher(Protocol):
    """An index that was built, searched for the K items of highest inner product."""

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes a search setting; what follows runs on so many threads."""
        ...

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query, float32 (D,)."""
        ...

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query, float32 (Q, D)."""
        ...

    def num_bytes(self) -> int:
        """Bytes of the index as the peer writes it to disk, with all that a search needs."""
        ...


Build = Callable[[np.ndarray, dict[str, Any]], Searcher]
"""Items, float32 (N, D), and a build setting → a searcher."""


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The mean share of the true rows, (Q, K), among those found, (Q, any); a row found twice counts once."""
    if len(found) != len(truth):
        raise ValueError(f"answers to {len(found)} queries; expected {len(truth)}")
    shares = [np.isin(true, rows).mean() for rows, true in zip(found, truth, strict=True)]
    return float(np.mean(shares))


def measured(
    searcher: Searcher, queries: np.ndarray, truth: np.ndarray, search: dict[str, Any], rounds: int
) -> dict[str, float]:
    """One search setting: queries one at a time on one thread, and by BATCH on NUM_THREADS.

    Rates are the medians of the rounds, percentiles are of all rounds. Each mode has a recall of its own.
    """
    searcher.prepare(search, 1)
    for query in queries[:_NUM_WARM]:
        searcher.one(query)
    took = np.empty((rounds, len(queries)))
    found: list[np.ndarray] = []
    for one_round in took:
        found = []
        for place, query in enumerate(queries):
            begun = time.perf_counter()
            rows = searcher.one(query)
            one_round[place] = time.perf_counter() - begun
            found.append(rows)
    single = {
        "single_recall": recall(_padded(found), truth),
        "single_qps": float(np.median(len(queries) / took.sum(axis=1))),
        "single_p50_us": float(np.percentile(took, 50) * 1e6),
        "single_p99_us": float(np.percentile(took, 99) * 1e6),
    }
    searcher.prepare(search, NUM_THREADS)
    every = np.concatenate([searcher.many(part) for part in _batches(queries)])[: len(queries)]
    rates = []
    for _ in range(rounds):
        batches = _batches(queries)
        begun = time.perf_counter()
        for part in batches:
            searcher.many(part)
        rates.append(BATCH * len(batches) / (time.perf_counter() - begun))
    return single | {"batch_recall": recall(every, truth), "batch_qps": float(np.median(rates))}


def _batches(queries: np.ndarray) -> list[np.ndarray]:
    """All queries in batches of exactly BATCH: the last is filled from the beginning again."""
    starts = range(0, len(queries), BATCH)
    return [queries[np.arange(start, start + BATCH) % len(queries)] for start in starts]


def _padded(found: list[np.ndarray]) -> np.ndarray:
    """Rows of each query as one array; -1 where a peer found fewer."""
    rows = np.full((len(found), K), -1, np.int64)
    for line, row in zip(rows, found, strict=True):
        line[: len(row)] = row
    return rows


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(build: Build) -> None:
    """What a peer's script does: builds once, prints what it took, then measures every search setting.

    settings.json: {"build": {…}, "lines": [[{…}, …], …], "rounds": 3, "num_queries": null for all}. A line
    is of searches by rising effort, and ends early where more effort has nothing to show. A search that the
    peer refuses is printed with its error.
    """
    vectors, settings = np.load(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    items = np.ascontiguousarray(vectors["items"])
    num_queries = settings.get("num_queries")
    queries = np.ascontiguousarray(vectors["test_queries"][:num_queries])
    truth = vectors["truth"][:num_queries]
    begun = time.perf_counter()
    searcher = build(items, settings["build"])
    seconds = time.perf_counter() - begun
    _print({"build_seconds": seconds, "bytes_per_item": searcher.num_bytes() / len(items)})
    for line in settings["lines"]:
        last = -1.0
        for search in line:
            try:
                found: dict[str, Any] = dict(measured(searcher, queries, truth, search, settings["rounds"]))
            except RuntimeError as error:  # hnswlib where it finds fewer than K
                _print({"search": search, "error": str(error)})
                continue
            _print({"search": search} | found)
            least = min(found["single_recall"], found["batch_recall"])
            if least >= _ENOUGH or least < last + _LEAST_GAIN:
                break
            last = least


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
