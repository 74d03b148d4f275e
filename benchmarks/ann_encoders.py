"""Real encoders of items and queries, for the claim `ann`: how each is learned, and what it is asked.

The towers are those of scripts/train.py, as a user runs it, and their questions are encoded by the exported
query encoder. A catalogue that is too large to be trained on a CPU is trained on its most watched titles; the
item tower then places the others by their metadata, as it does every title that is new to it.

The towers give unit vectors, whatever they learned. Vectors of other lengths come from the factorisation: its
inner products are learned as they are, and how long a vector is says how sure its title is to be watched. In
this project too it is what fills an index with such vectors (rung `ials`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int64

from benchmarks.claims import BenchmarkError
from benchmarks.ratings import data_overrides
from benchmarks.stages import run_script
from retrieval.encoder import embed_catalogue, load_encoder
from retrieval.release.files import read_vectors
from towers.data.dataset import Dataset, read_dataset
from towers.data.histories import Histories
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import Tables
from towers.data.signals.settings import SignalSettings, signals_of
from towers.data.sources.read import ingest_source
from towers.data.sources.sequences import SequenceForm, SequenceSettings
from towers.data.sources.simulated import SimulatedSettings, simulate
from towers.errors import MissingDataError
from towers.exported import VECTORS_FILE, read_context
from towers.ladder.factorisation import IALSSettings, fit_ials
from towers.recommender import Queries

DIM = 128


class RealLog(StrEnum):
    """Public logs at hand, of the folder that $TOWERS_DATA names."""

    MOVIELENS = "ml-latest-small"
    GAMES = "amazon-video-games"
    """The largest catalogue of behaviour among them: 23,715 items."""


@dataclass(frozen=True, slots=True)
class SimulatedLog:
    """A simulated service: its titles, events and profiles."""

    num_items: int
    num_events: int
    num_profiles: int


@dataclass(frozen=True, slots=True)
class TowersRecipe:
    """Towers by scripts/train.py.

    training: overrides of the script, beside those of the data. num_trained: so many of the most watched
    titles are learned from, with their events; all where None.
    """

    log: SimulatedLog | RealLog
    training: tuple[str, ...]
    num_trained: int | None = None


@dataclass(frozen=True, slots=True)
class FactorsRecipe:
    """Factors of profiles and items by alternating least squares, as many as the towers have dimensions.

    A title that nobody watched has no factors: it is left out. regularisation and confidence are those that
    found most validation items of amazon-video-games (R@10 .098 of 1,500 profiles, .061 by the rung's own).
    """

    log: SimulatedLog | RealLog
    iterations: int = 10
    regularisation: float = 10.0
    confidence: float = 10.0


@dataclass(frozen=True, slots=True)
class Encoder:
    """Items and queries in one space.

    items: float32 (N, D). num_events: int64 (N,), the events of each in the log that was learned from.
    dataset: who asks. encode: Queries of its rows → float32 (Q, D).
    """

    items: Float32[np.ndarray, "N D"]
    num_events: Int64[np.ndarray, " N"]
    dataset: Dataset
    encode: Callable[[Queries], Float32[np.ndarray, "Q D"]]


def learned(recipe: TowersRecipe | FactorsRecipe, folder: Path) -> Encoder:
    """The encoder of a recipe; towers that stand in the folder already are not trained again."""
    match recipe:
        case TowersRecipe(num_trained=None):
            return _towers(recipe, folder)
        case TowersRecipe():
            return _towers_of_the_watched(recipe, folder)
        case FactorsRecipe():
            return _factors(recipe, folder)


def _towers(recipe: TowersRecipe, folder: Path) -> Encoder:
    if not (folder / "model").is_dir():
        run_script("train", *_overrides(recipe.log), *recipe.training, f"artifacts={folder}")
    dataset = read_dataset(folder / "tables", signals_of(read_context(folder / "model")))
    items, _ = read_vectors(folder / "model" / VECTORS_FILE)
    return _encoder(folder / "model", dataset, items)


def _towers_of_the_watched(recipe: TowersRecipe, folder: Path) -> Encoder:
    whole = folder / "whole"
    if not (folder / "model").is_dir():
        tables = simulate(_simulated(recipe.log)).tables
        _ingest(tables, whole)
        _ingest(_of_the_watched(tables, recipe.num_trained or 0), folder / "tables")
        del tables
        run_script("train", "reuse_tables=true", *recipe.training, f"artifacts={folder}")
    dataset = read_dataset(whole, signals_of(read_context(folder / "model")))
    return _encoder(folder / "model", dataset, embed_catalogue(folder / "model", dataset.items))


def _encoder(model: Path, dataset: Dataset, items: np.ndarray) -> Encoder:
    num_events = np.bincount(dataset.history.item_row, minlength=len(items))
    return Encoder(items, num_events, dataset, load_encoder(model, items).encode)


def _of_the_watched(tables: Tables, num_items: int) -> Tables:
    """The titles with the most events, in their order, and those events; equals by row. No searches."""
    row = pc.index_in(tables.events["item_id"], tables.items["item_id"].combine_chunks())
    count = np.bincount(row.to_numpy(), minlength=tables.items.num_rows)
    watched = np.zeros(len(count), bool)
    watched[np.argsort(-count, kind="stable")[:num_items]] = True
    return Tables(
        items=tables.items.filter(pa.array(watched)),
        events=tables.events.filter(pa.array(watched[row.to_numpy()])),
        profiles=tables.profiles,
        queries=tables.queries.slice(0, 0),
    )


def _factors(recipe: FactorsRecipe, folder: Path) -> Encoder:
    tables = folder / "tables"
    if not tables.is_dir():
        ingest_source(source_of(recipe.log), tables, RuleSettings(), SignalSettings(), None)
    dataset = read_dataset(tables, SignalSettings())
    num_items = len(dataset.catalogue)
    # No recency: the vector of a profile is then the one that its own sweep would give.
    settings = IALSSettings(
        num_factors=DIM,
        regularisation=recipe.regularisation,
        confidence=recipe.confidence,
        iterations=recipe.iterations,
        recency=0.0,
        num_threads=1,
    )
    model = fit_ials(dataset.history, num_items, settings)
    num_events = np.bincount(dataset.history.item_row, minlength=num_items)
    # Beside the factors stand what ranks titles without any, and profiles without a history: neither is here.
    items = np.ascontiguousarray(model.exact.item_vectors[num_events > 0, :DIM])
    return Encoder(
        items,
        num_events[num_events > 0],
        dataset,
        lambda queries: np.ascontiguousarray(model.encoder.encode(queries)[:, :DIM]),
    )


def _ingest(tables: Tables, folder: Path) -> None:
    ingest(raw_from_tables(tables), "simulated service", folder, RuleSettings())


def _simulated(log: SimulatedLog | RealLog) -> SimulatedSettings:
    if isinstance(log, RealLog):
        raise BenchmarkError(f"{log}: a part of its titles is not trained on; expected a simulated log")
    return SimulatedSettings(
        num_events=log.num_events, num_profiles=log.num_profiles, num_items=log.num_items
    )


def source_of(log: SimulatedLog | RealLog) -> SimulatedSettings | SequenceSettings:
    """What reads a log; MissingDataError where it is not at hand."""
    match log:
        case SimulatedLog():
            return _simulated(log)
        case RealLog.GAMES:
            path = Path(os.environ.get("TOWERS_DATA", ""), log, "user_item.txt.gz")
            if not path.is_file():
                raise MissingDataError(f"{path}: no such file; TOWERS_DATA must hold {log}")
            return SequenceSettings(str(path), SequenceForm.EVENTS)
        case RealLog.MOVIELENS:
            raise BenchmarkError(f"{log}: no factors are learned from it; expected another log")


def _overrides(log: SimulatedLog | RealLog) -> list[str]:
    """What tells scripts/train.py of a log."""
    match log:
        case SimulatedLog():
            return [
                f"data.num_events={log.num_events}",
                f"data.num_profiles={log.num_profiles}",
                f"data.num_items={log.num_items}",
            ]
        case RealLog.MOVIELENS:
            return data_overrides("ml_small")
        case RealLog.GAMES:
            raise BenchmarkError(f"{log}: no towers are trained on it; expected another log")


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions to build with and questions to test with, of profiles that are not the same."""

    build: Queries
    test: Queries


def asked(dataset: Dataset, num_build: int, num_test: int, *, test_share: float, seed: int) -> Asked:
    """Up to so many questions of each kind, the test ones of a share of the profiles that watched anything.

    A question is asked at the last event of its history. Where a part has as many profiles as questions, each
    is asked once, with its whole history; where it has fewer, the questions are beginnings of their
    histories, drawn without replacement.
    """
    rng = np.random.default_rng(seed)
    profiles = rng.permutation(np.flatnonzero(dataset.history.lengths))
    num_testers = max(1, round(test_share * len(profiles)))
    return Asked(
        build=_questions(rng, dataset, profiles[num_testers:], num_build),
        test=_questions(rng, dataset, profiles[:num_testers], num_test),
    )


def _questions(rng: np.random.Generator, dataset: Dataset, profiles: np.ndarray, num: int) -> Queries:
    history = dataset.history
    length = history.lengths[profiles]
    if len(profiles) >= num:
        chosen, shown = profiles[:num], length[:num]
    else:
        every = np.sort(rng.permutation(int(length.sum()))[:num])
        place = np.searchsorted(np.cumsum(length), every, side="right")
        chosen, shown = profiles[place], every - (np.cumsum(length) - length)[place] + 1
    start = history.offset[chosen]
    known = dataset.profile_table.take(pa.array(chosen))
    parts: Histories = history.slices(chosen, start, start + shown)
    time_seconds = np.asarray(history.time_seconds[start + shown - 1], np.int64)
    return Queries(parts, time_seconds, dataset.country[chosen], known)
