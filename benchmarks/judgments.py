"""Claim `judgments`: searches by words and by meaning together, over BM25, the query tower and words alone.

Real: towers and query tower of ml-latest-small, at the defaults of scripts/train.py, judged on the 40
searches of tmdb-search-judgments and on tags. Half of the tags, drawn by their texts, stand in the log as
searches; the other half is asked for, and nothing has ever learned from it. The item table knows nothing of
tags.

Simulated, and labelled so: searches after the cut-off of a simulated service, by what they name, asked with
the profile and without.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from benchmarks.judged_searches import judged_searches, tag_searches
from benchmarks.measurement import Measurement
from benchmarks.search_curve import search_curve
from benchmarks.search_data import K, bm25_answers, movielens_tables, searched_tables
from benchmarks.search_service import hybrid_answers, served, vector_answers
from benchmarks.stages import on_cores
from retrieval.retriever import Retriever
from towers.data.dataset import rows_of
from towers.data.schema import QUERIES, TIME, Tables, table
from towers.data.simulator.searches import Kind
from towers.data.sources.simulated import SimulatedSettings, simulate
from towers.data.split import SplitSettings
from towers.evaluation.bootstrap import mean_intervals, paired_bootstrap
from towers.evaluation.search import graded_ndcg, search_metrics
from towers.training.query_settings import QueryFitSettings

SEED = 0
QUERY_TOWER = QueryFitSettings(epochs=4)
SIMULATED = SimulatedSettings(query_share=0.3)
LATE_SHARE = 0.1
"""Of the events of the simulated log, the last so many come after what the service knows."""
WINDOW_MS = 30 * 60 * 1000
"""A search so short before that moment may have its play behind it."""
AMBIGUOUS = (Kind.PERSON, Kind.LAST_NAME, Kind.SUB_GENRE, Kind.GENRE, Kind.MOOD, Kind.ERA)
"""What a search of the simulator may name that many titles have."""


def measure() -> Measurement:
    """nDCG@10 of the judgments and MRR@10 of held-out tags beside BM25's; the simulator in the details."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as name, on_cores(1):
        figures, details = real_searches(Path(name, "real"))
        simulated = simulated_searches(Path(name, "simulated"), SIMULATED)
    return Measurement(
        figures=figures,
        data="ml-latest-small with people of TMDB and DBpedia; tmdb-search-judgments; half of its tags",
        seeds=(SEED,),
        details={**details, f"simulated, MRR@{K} with the profile and without": simulated},
    )


def real_searches(folder: Path) -> tuple[dict[str, float | None], dict[str, object]]:
    """Figures and details of ml-latest-small, a service made in this folder."""
    tables = movielens_tables()
    world = searched_tables(tables)
    tags, targets = tag_searches(tables.items)
    held = np.random.default_rng(SEED).random(len(tags)) < 0.5
    known, asked = np.flatnonzero(~held).tolist(), np.flatnonzero(held).tolist()
    searches = [(tags[tag], row) for tag in known for row in targets[tag]]
    release = served(_with_searches(tables, searches), folder, SplitSettings(), QUERY_TOWER, SEED)
    retriever = Retriever(release)
    texts, grades = judged_searches(tables.items)
    answers: dict[str, Callable[[Sequence[str]], Any]] = {
        "hybrid": lambda texts: hybrid_answers(retriever, texts, K),
        "BM25": lambda texts: bm25_answers(world.items, texts, K),
        "query tower alone": lambda texts: vector_answers(release, texts, K),
        "words alone": lambda texts: world.answers(texts, K),
    }
    by_judgment = {name: graded_ndcg(answer(texts), grades, K) for name, answer in answers.items()}
    tag_texts, wanted = [tags[tag] for tag in asked], [targets[tag] for tag in asked]
    by_tag = {name: search_metrics(answer(tag_texts), wanted)[f"mrr@{K}"] for name, answer in answers.items()}
    return {
        "ndcg10_hybrid_minus_bm25": round(float((by_judgment["hybrid"] - by_judgment["BM25"]).mean()), 4),
        "tag_mrr_over_bm25": round(float(by_tag["hybrid"].mean() / by_tag["BM25"].mean()), 4),
    }, {
        f"N@{K} of {len(texts)} judged searches": _compared(by_judgment),
        f"MRR@{K} of {len(asked)} held-out tags": _compared(by_tag),
        "curve, success@1 and @10": search_curve(
            {"hybrid": answers["hybrid"], "words": answers["words alone"]}, world, SEED
        ),
    }


def simulated_searches(folder: Path, settings: SimulatedSettings) -> dict[str, object]:
    """Searches after a moment, by what they name: with the profile, without, and the difference.

    The service has the log before that moment and nothing else: what came after a search is in no history.
    """
    world = simulate(settings)
    tables = world.tables
    cutoff = np.quantile(tables.events["start"].cast(pa.int64()).to_numpy(), 1 - LATE_SHARE)
    release = served(_before(tables, cutoff), folder, SplitSettings(), QUERY_TOWER, SEED)
    retriever, by_words = Retriever(release), Retriever(replace(release, texts=None))
    title = rows_of(tables.queries["item_id"], tables.items["item_id"])
    late = (tables.queries["time"].cast(pa.int64()).to_numpy() >= cutoff) & (title >= 0)
    profile_id = tables.queries["profile_id"].to_pylist()
    found: dict[str, object] = {}
    for name, kinds in {"exact titles": (Kind.TITLE,), "ambiguous": AMBIGUOUS}.items():
        row = np.flatnonzero(late & np.isin(world.searches.kind, kinds) & ~world.searches.mistyped).tolist()
        texts = tables.queries["text"].take(pa.array(row)).to_pylist()
        asked = [profile_id[one] for one in row]
        answers = {
            "with the profile": hybrid_answers(retriever, texts, K, asked),
            "without": hybrid_answers(retriever, texts, K),
            "by words, with the profile": hybrid_answers(by_words, texts, K, asked),
        }
        targets = [[one] for one in title[row].tolist()]
        mrr = {way: search_metrics(rows, targets)[f"mrr@{K}"] for way, rows in answers.items()}
        found[f"{name}, {len(row)} searches"] = _compared(mrr)
    return found


def _before(tables: Tables, moment_ms: float) -> Tables:
    """The tables as they were at a moment."""
    early = pa.array(tables.events["start"].cast(pa.int64()).to_numpy() < moment_ms)
    asked = pa.array(tables.queries["time"].cast(pa.int64()).to_numpy() < moment_ms - WINDOW_MS)
    return replace(tables, events=tables.events.filter(early), queries=tables.queries.filter(asked))


def _with_searches(tables: Tables, searches: list[tuple[str, int]]) -> Tables:
    """The tables with these searches by nobody, and what was played after each; as the log begins."""
    start = pc.min(tables.events["start"]).as_py()
    ids = tables.items["item_id"].to_pylist()
    columns = {
        "text": [text for text, _ in searches],
        "time": pa.array([start] * len(searches), TIME),
        "item_id": [ids[row] for _, row in searches],
    }
    return replace(tables, queries=table(QUERIES, columns))


def _compared(values: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Means with intervals; and of the first less each other, paired."""
    first, *others = values
    means = {name: asdict(interval) for name, interval in mean_intervals(values).items() if interval}
    leads = {}
    for name in others:
        lead = paired_bootstrap(values[first], values[name])
        leads[f"{first} less {name}"] = None if lead is None else asdict(lead)
    return {"mean": means, "difference": leads}
