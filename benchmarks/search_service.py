"""Tables → a service that answers searches: towers, query tower and release, at the defaults of train.py."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from retrieval.index.allowed import Allowed
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.read import Release, read_release
from retrieval.retriever import Retriever
from retrieval.search.text_vectors import meant
from retrieval.vectors import VectorAnswers
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import Tables, read_table
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split
from towers.recommender import PAD
from towers.training.export import export
from towers.training.fit import fit_towers
from towers.training.query_fit import fit_query_tower
from towers.training.query_settings import QueryFitSettings
from towers.training.recipe import GivenSettings, Preset, recipe, statistics


def served(tables: Tables, folder: Path, by: SplitSettings, query: QueryFitSettings, seed: int) -> Release:
    """A release that was trained and built in this folder, by the preset `fast`."""
    ingest(raw_from_tables(tables), "searched titles", folder / "tables", RuleSettings())
    dataset = read_dataset(folder / "tables", SignalSettings())
    parts = split(dataset, by)
    settled = recipe(statistics(parts), Preset.FAST, GivenSettings(seed=seed), gpu=False)
    towers = fit_towers(dataset, parts, settled.fit, folder / "checkpoints")
    queries = read_table(folder / "tables", "queries")
    asked = fit_query_tower(towers, dataset, parts, queries, query, seed)
    context = {"split": asdict(by), "signals": asdict(SignalSettings()), "seed": seed}
    export(towers, dataset, parts, folder / "model", context=context, query_tower=asked)
    build_release(folder / "model", folder / "tables", folder / "releases", IndexSpec(), GateSettings())
    return read_release(folder / "releases")


def hybrid_answers(
    retriever: Retriever, texts: Sequence[str], k: int, profiles: Sequence[str | None] | None = None
) -> Int64[np.ndarray, "Q K"]:
    """What `Retriever.search` answers to these texts, by these profiles where they are given."""
    found = np.full((len(texts), k), PAD, np.int64)
    for line, (text, profile_id) in enumerate(zip(texts, profiles or [None] * len(texts), strict=True)):
        rows = retriever.items.vocabulary.rows(retriever.search(text, profile_id=profile_id, k=k).item_id)
        found[line, : len(rows)] = rows
    return found


def vector_answers(release: Release, texts: Sequence[str], k: int) -> Int64[np.ndarray, "Q K"]:
    """What the query tower finds alone; nothing for a text that it knows nothing of."""
    found = np.full((len(texts), k), PAD, np.int64)
    assert release.texts is not None
    assert isinstance(release.answers, VectorAnswers)
    everything = Allowed.but(np.zeros(2, np.int64), np.zeros(0, np.int64))
    for line, text in enumerate(texts):
        rows = meant(release.texts, release.answers, release.num_events, text, None, k, everything)
        if rows is not None:
            found[line, : len(rows[:k])] = rows[:k]
    return found
