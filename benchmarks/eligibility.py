"""Claim `eligibility`: narrow rules are answered fast, with recall, and in full.

Over towers of 200,000 simulated titles, with an index compiled as `index=compiled` does it:

- speed: single queries on one thread from the bitmap of a rule, beside FAISS IndexFlatIP with a selector; the
  smallest ratio over shares of 10 % to .01 %, of titles by chance, of those that the querying users like
  best, and of those that they like least.
- recall@100 against the scores of all that passes, over shares of .01 % to 100 % of each kind, over rules of
  the catalogue, and over a batch in which every query has a rule of its own; the smallest mean.
- completeness: the share of 100,000 random rule sets that `eligibility_answers` finds answered in full.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.ann_encoders import asked, source_of
from benchmarks.ann_vectors import PLANS, SetName, made, read
from benchmarks.claims import BenchmarkError
from benchmarks.eligibility_answers import Served, num_complete
from benchmarks.eligibility_rules import STUDIO, RawTitles, with_studios
from benchmarks.measurement import Measurement
from benchmarks.stages import ROOT, on_cores
from retrieval.catalogue import Catalogue
from retrieval.completion import complete_topk, unseen
from retrieval.eligibility import bitmaps
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.rules import (
    All,
    AttributeIn,
    Available,
    ForKids,
    GenresAny,
    LanguageIn,
    MaturityAtMost,
    Not,
    PeopleAny,
    ReleaseYearBetween,
    Rule,
)
from retrieval.index.allowed import Allowed
from retrieval.index.compile import compile_index
from retrieval.index.spec import IndexKind, IndexSpec, SelectiveIndex
from towers.data.dataset import Dataset, read_dataset
from towers.data.ingest.rules import RuleSettings
from towers.data.signals.settings import SignalSettings
from towers.data.sources.read import ingest_source
from towers.recommender import Queries

SET = SetName.TOWERS_200K
_K, _NUM_TIMED, _ROUNDS = 100, 30, 15
_NUM_RECALL, _CHUNK = 500, 100
_NUM_RULE_SETS = 100_000
_NARROW = (0.1, 0.03, 0.01, 0.001, 0.0001)
_SHARES = (1.0, 0.7, 0.5, 0.3, 0.2, 0.13, *_NARROW)


def measure() -> Measurement:
    """The three figures, a quarter of an hour beside the vectors."""
    path = made(SET)
    served, queries = _served(path)
    now = int(queries.time_seconds.max())
    masks = by_share(served, _SHARES)
    speed = _over_flat(path, served, {name: masks[name] for name in masks if _share(name) <= max(_NARROW)})
    recall = recalls(served, masks | _of_rules(served, rules_of(served.titles, served, queries, now)))
    recall["a rule each"] = _recall_of_own_rules(served, queries, now)
    complete, sizes = num_complete(served, _NUM_RULE_SETS, seed=0)
    return Measurement(
        figures={
            "over_flat_selector_10pct": min(each["ratio"] for each in speed.values()),
            "min_recall": round(min(recall.values()), 4),
            "completeness": complete / _NUM_RULE_SETS,
        },
        data=f"vectors {SET} ({path.name}) and the titles of their log",
        seeds=(0,),
        details={"speed": speed, "recall": recall, "rule sets by what they let pass": sizes},
    )


def _served(path: Path) -> tuple[Served, Queries]:
    """The set as it would be served, and its test queries; BenchmarkError where log and vectors differ."""
    plan, found = PLANS[SET], read(path)
    dataset = _dataset(path.with_suffix(".tables"))
    questions = asked(dataset, plan.num_build, plan.num_test, test_share=plan.test_share, seed=plan.seed).test
    counted = np.bincount(dataset.history.item_row, minlength=len(dataset.catalogue))
    if not np.array_equal(counted, found.num_events) or len(questions) != len(found.test_queries):
        raise BenchmarkError(
            f"{path}: its log made again has other events or questions; expected those of its vectors"
        )
    items = with_studios(dataset.items)
    target = IndexSpec(IndexKind.COMPILED, target_recall=0.97)
    compiled = compile_index(found.items, found.build_queries, target)
    print(f"compiled {compiled.spec}", file=sys.stderr, flush=True)
    served = Served(
        vectors=found.items,
        index=compiled.index,
        eligibility=Eligibility(Catalogue(items)),
        titles=RawTitles(items),
        query=found.test_queries,
        watched=questions.history,
    )
    return served, questions


def _dataset(tables: Path) -> Dataset:
    """The log of the set, simulated again where it is not kept beside it."""
    if not tables.is_dir():
        ingest_source(source_of(PLANS[SET].recipe.log), tables, RuleSettings(), SignalSettings(), None)
    return read_dataset(tables, SignalSettings())


def by_share(served: Served, shares: Sequence[float]) -> dict[str, np.ndarray]:
    """Which titles pass, bool (N,), for each share of them: by chance, and those liked best and least."""
    liking = served.vectors @ served.query.mean(axis=0)
    merits = {"chance": np.random.default_rng(0).random(len(liking)), "liked": liking, "disliked": -liking}
    masks = {}
    for share in shares:
        for name, merit in merits.items():
            mask = np.zeros(len(merit), bool)
            mask[np.argsort(-merit, kind="stable")[: max(1, round(share * len(merit)))]] = True
            masks[f"{share:g} {name}"] = mask
    return masks


def rules_of(titles: RawTitles, served: Served, queries: Queries, now: int) -> dict[str, Rule]:
    """Rules as a service has them, some of them of what the querying users like best and least."""
    liked = _liked_genres(titles, served)
    people = sorted(titles.people, key=lambda name: -len(titles.people[name]))
    home = sorted(titles.territories, key=lambda code: -int((queries.country == code).sum()))
    return {
        "liked genres": GenresAny(tuple(liked[:3])),
        "all but liked genres": Not(GenresAny(tuple(liked[:3]))),
        "disliked genres": GenresAny(tuple(liked[-5:])),
        "one liked genre": GenresAny((liked[0],)),
        "one disliked genre": GenresAny((liked[-1],)),
        "territory now": Available(home[0], now),
        "smallest territory now": Available(home[-1], now),
        "territory unknown": Available("", now),
        "territory at first": Available(home[0], int(queries.time_seconds.min())),
        "kids": ForKids(),
        "not for kids": Not(ForKids()),
        "up to 16": MaturityAtMost(16),
        "a language": LanguageIn((next(iter(titles.languages)),)),
        "new": ReleaseYearBetween(first=2024),
        "old": ReleaseYearBetween(last=1985),
        "a studio": AttributeIn(STUDIO, ("Studio 30",)),
        "50 people": PeopleAny(tuple(people[:50])),
        "all together": All(
            (
                Available(home[0], now),
                MaturityAtMost(16),
                Not(GenresAny((liked[0],))),
                ReleaseYearBetween(2000),
            )
        ),
    }


def recalls(served: Served, masks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean recall@100 of the first queries under each of these rules, all asked in batches."""
    index, query = _selective(served), served.query[:_NUM_RECALL]
    total = dict.fromkeys(masks, 0.0)
    for start in range(0, len(query), _CHUNK):
        part = query[start : start + _CHUNK]
        scores = part @ served.vectors.T
        for name, mask in masks.items():
            row = index.search_allowed(part, _K, _allowed(mask, len(part)))[1]
            total[name] += sum(_recall(scores[line], mask, row[line]) for line in range(len(part)))
    return {name: each / len(query) for name, each in total.items()}


def _recall_of_own_rules(served: Served, queries: Queries, now: int) -> float:
    """The same, every query in its own territory, without what it has seen, and with some rule of its own."""
    rng, titles = np.random.default_rng(0), served.titles
    genres, languages = list(titles.genres), list(titles.languages)
    rules: list[Rule] = []
    for line in range(_NUM_RECALL):
        own = [
            Not(GenresAny((genres[rng.integers(len(genres))],))),
            LanguageIn((languages[rng.integers(len(languages))],)),
            ReleaseYearBetween(int(rng.integers(1970, 2020)), None),
            AttributeIn(STUDIO, (f"Studio {rng.integers(40)}",)),
            MaturityAtMost(int(rng.integers(6, 19))),
        ]
        chosen = rng.choice(len(own), rng.integers(1, 4), replace=False)
        home = Available(str(queries.country[line]), now - int(rng.integers(10**7)))
        rules.append(All((home, *(own[each] for each in chosen))))
    first = np.arange(_NUM_RECALL)
    watched = served.watched.select(first)
    allowed = unseen(watched).among(*served.eligibility.bitmaps(rules))
    row = complete_topk(served.index, served.vectors, served.query[first], _K, allowed)[1]
    total = 0.0
    for line, rule in enumerate(rules):
        mask = titles.passes(rule).copy()
        mask[watched.items_of(line)] = False
        total += _recall(served.vectors @ served.query[line], mask, row[line])
    return total / len(rules)


def _over_flat(path: Path, served: Served, masks: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Microseconds of the middle query and the ratio, medians of the rounds in which the two take turns.

    A round goes through all masks: what slows the machine for a while does not meet all rounds of one.
    """
    index = _selective(served)
    bitmap = np.array([bitmaps.from_mask(mask) for mask in masks.values()])
    own, theirs = np.empty((2, _ROUNDS, len(masks)))
    with on_cores(1), _flat(path, bitmap) as flat:
        for turn in range(_ROUNDS):
            for case in range(len(masks)):
                theirs[turn, case] = 1e6 * np.median(flat(case))
                own[turn, case] = 1e6 * np.median(_timed(index, served.query, bitmap[case]))
    found = {}
    for case, name in enumerate(masks):
        medians = np.median(own[:, case]), np.median(theirs[:, case])
        ratio = np.median(theirs[:, case] / own[:, case])
        found[name] = dict(
            zip(
                ("own_us", "flat_us", "ratio"),
                (round(float(one), 2) for one in (*medians, ratio)),
                strict=True,
            )
        )
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def _timed(index: SelectiveIndex, query: np.ndarray, bitmap: np.ndarray) -> list[float]:
    seconds = []
    for one in query[:_NUM_TIMED]:
        begun = time.perf_counter()
        nothing = np.zeros(0, np.int64)
        allowed = Allowed(bitmap[None], np.zeros(1, np.int64), np.zeros(2, np.int64), nothing)
        index.search_allowed(one[None], _K, allowed)
        seconds.append(time.perf_counter() - begun)
    return seconds


@contextmanager
def _flat(path: Path, bitmap: np.ndarray) -> Iterator[Callable[[int], list[float]]]:
    """FAISS in a process of its own: seconds of its queries under the bitmap of a number."""
    with TemporaryDirectory() as name:
        np.save(Path(name, "bitmaps.npy"), bitmap)
        peer = subprocess.Popen(
            [
                *(sys.executable, ROOT / "benchmarks" / "peers" / "flat_selector.py"),
                *(path, Path(name, "bitmaps.npy"), str(_K), str(_NUM_TIMED)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert peer.stdin is not None
        assert peer.stdout is not None

        def ask(case: int) -> list[float]:
            print(case, file=peer.stdin, flush=True)
            line = peer.stdout.readline() if peer.stdout else ""
            if not line:
                raise BenchmarkError("flat_selector ended; expected the seconds of its queries")
            seconds: list[float] = json.loads(line)
            return seconds

        try:
            ask(0)  # warm
            yield ask
        finally:
            peer.stdin.close()
            peer.wait()
            peer.stdout.close()


def _allowed(mask: np.ndarray, num_queries: int) -> Allowed:
    everyone = np.zeros(num_queries, np.int64)
    nothing = Allowed.but(np.zeros(num_queries + 1, np.int64), np.zeros(0, np.int64))
    return nothing.among(bitmaps.from_mask(mask)[None], everyone)


def _of_rules(served: Served, rules: Mapping[str, Rule]) -> dict[str, np.ndarray]:
    """Which titles pass each, by the raw table; BenchmarkError where the compiled bitmap says otherwise."""
    masks = {name: served.titles.passes(rule) for name, rule in rules.items()}
    for name, rule in rules.items():
        if not np.array_equal(served.eligibility.bitmap(rule), bitmaps.from_mask(masks[name])):
            raise BenchmarkError(f"{name}: the bitmap of {rule} has other titles than pass; expected those")
    return {name: mask for name, mask in masks.items() if mask.any()}


def _recall(score: np.ndarray, mask: np.ndarray, row: np.ndarray) -> float:
    """The share of min(K, passing) places that hold an item no worse than the last of the exact answer."""
    passing = score[mask]
    num = min(len(row), len(passing))
    if num == 0:
        return 1.0
    last = np.partition(passing, len(passing) - num)[len(passing) - num]
    found = np.unique(row[row >= 0])
    return float(np.count_nonzero(score[found[mask[found]]] >= last)) / num


def _liked_genres(titles: RawTitles, served: Served) -> list[str]:
    """Genres and sub-genres, those whose titles the querying users like best on average first."""
    liking = served.vectors @ served.query.mean(axis=0)
    return sorted(titles.genres, key=lambda name: -float(liking[titles.genres[name]].mean()))


def _share(name: str) -> float:
    return float(name.split()[0])


def _selective(served: Served) -> SelectiveIndex:
    if not isinstance(served.index, SelectiveIndex):
        raise BenchmarkError(f"compiled to a {type(served.index).__name__}; expected lists")
    return served.index
