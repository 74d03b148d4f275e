"""A fitted rung and its Dataset → a gated, published release: by its vectors, or by lists made beforehand."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int32, Int64
from rich.console import Console
from rich.progress import Progress
from safetensors.numpy import save

from retrieval.completion import unseen
from retrieval.encoder import load_fold_in, save_fold_in
from retrieval.index.spec import IndexSpec
from retrieval.lists import LISTS_FILE, RankedLists, countries_of
from retrieval.profiles import write_profiles
from retrieval.release.certificate import write_certificate
from retrieval.release.files import PROFILES_FILE
from retrieval.release.gates import Candidate, GateSettings, check_gates, check_lists, require, rung_overlap
from retrieval.release.manifest import AnswerKind, Description
from retrieval.release.read import read_parts
from retrieval.release.saved_index import SavedIndex, build_queries, gate_queries, new_queries
from retrieval.release.served_gates import Placed, held_out_questions, live_release, served_gates
from retrieval.release.store import ReleaseInfo, publish
from retrieval.release.title_gates import titled
from retrieval.release.titles import write_titles
from towers.data.dataset import Dataset
from towers.data.histories import Histories
from towers.data.privacy.sealed import StoreKeys
from towers.exported import FINGERPRINT, VECTORS_FILE
from towers.ladder.factorisation import IALS
from towers.recommender import PAD, Queries, Recommender
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

# Queries that a rung is asked at once while its lists are made.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class ListSettings:
    """length: titles of each list; what a longer answer holds beyond them goes by popularity."""

    length: int = bounded(200, ge=1)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a rung was fitted on, as its release keeps it.

    dataset: titles, profiles and their whole histories. num_events: int64 (N,), train events of each title.
    context: the settings it was fitted under, its split and how it was judged, as plain values.
    profile_columns: those of the profiles table that the rung reads.
    """

    dataset: Dataset
    num_events: Int64[np.ndarray, " N"]
    context: Mapping[str, Any]
    profile_columns: Sequence[str] = ()


def release_rung(
    rung: Recommender,
    learned: Learned,
    releases_root: Path,
    index_spec: IndexSpec,
    lists: ListSettings,
    gates: GateSettings,
    store_keys: StoreKeys | None = None,
) -> ReleaseInfo:
    """The release of any rung but the towers, published as the current one: by its vectors if it has them.

    store_keys: as in `build_release`. Raises GateError where a gate fails, ReleaseError where publishing
    does; then nothing changes.
    """
    check_ranges(gates, "gates")
    if isinstance(rung, IALS):
        return release_factors(rung, learned, releases_root, index_spec, gates, store_keys)
    return release_lists(rung, learned, releases_root, lists, gates, store_keys)


def release_factors(
    rung: IALS,
    learned: Learned,
    releases_root: Path,
    index_spec: IndexSpec,
    gates: GateSettings,
    store_keys: StoreKeys | None = None,
) -> ReleaseInfo:
    """The release of iALS: its item vectors in an index, queries folded in. Raises as `release_rung` does."""
    dataset, vectors = learned.dataset, rung.exact.item_vectors

    def write(folder: Path) -> Description:
        save_fold_in(rung.encoder.settings, folder)
        encoder, asked = load_fold_in(folder, vectors), gate_queries(dataset, gates.num_queries)
        arrays = {"vector": vectors, "num_events": learned.num_events}
        (folder / VECTORS_FILE).write_bytes(save(arrays, metadata={FINGERPRINT: encoder.fingerprint}))
        others = build_queries(dataset, gates.num_queries)
        index = SavedIndex(index_spec, vectors, folder, lambda: encoder.encode(others))
        candidate = Candidate(
            item_id=dataset.catalogue.column,
            vectors=vectors,
            searched=vectors,
            num_events=learned.num_events,
            embed=lambda: vectors,
            encode=lambda: encoder.encode(asked),
            build=index,
            length=asked.history.lengths,
            encode_new=lambda: encoder.encode(new_queries(dataset, gates.num_queries)),
            keep=lambda certificate: write_certificate(certificate, folder),
        )
        passed = check_gates(candidate, gates)
        description = _description(
            learned, AnswerKind.FACTORS, encoder.fingerprint, index.spec, encoder.dimension
        )
        description = replace(description, gates=passed)
        live = live_release(releases_root, store_keys)
        k, least = gates.k, gates.min_recall
        return _finished(folder, live, rung, learned, description, gates, store_keys, k=k, least=least)

    return publish(releases_root, write)


def release_lists(
    rung: Recommender,
    learned: Learned,
    releases_root: Path,
    settings: ListSettings,
    gates: GateSettings,
    store_keys: StoreKeys | None = None,
) -> ReleaseInfo:
    """The release of any rung by its rankings, made now, for every profile, country and title.

    All are asked at the moment of the newest event. Raises as `release_rung` does.
    """
    check_ranges(settings, "lists")
    lists = make_lists(rung, learned, settings.length)

    def write(folder: Path) -> Description:
        lists.save(folder)
        fingerprint = hashlib.sha256((folder / LISTS_FILE).read_bytes()).hexdigest()
        description = _description(learned, AnswerKind.LISTS, fingerprint)
        description = replace(description, gates=check_lists(lists, learned.dataset.catalogue.ids, gates))
        k = min(gates.k, settings.length)
        live = live_release(releases_root, store_keys)
        return _finished(folder, live, rung, learned, description, gates, store_keys, k=k, least=1.0)

    return publish(releases_root, write)


def make_lists(rung: Recommender, learned: Learned, length: int) -> RankedLists:
    """The rung's rankings of `length` titles, or of all there are where they are fewer."""
    dataset, newest = learned.dataset, _newest(learned.dataset)
    num_items, countries = len(dataset.catalogue), countries_of(dataset.country)
    alone = Histories(
        np.arange(num_items + 1),
        np.arange(num_items),
        np.full(num_items, newest),
        np.full(num_items, np.nan, np.float32),
    )
    nobody = _asked(Histories.empty(len(countries)), newest, countries)
    asked = [
        _asked(dataset.history, newest, dataset.country, dataset.profile_table),
        nobody,
        _asked(alone, newest, np.full(num_items, "")),
    ]
    num_lists, length = sum(map(len, asked)), min(length, num_items)
    item_row, score = np.empty((num_lists, length), np.int32), np.empty((num_lists, length), np.float32)
    console, line = Console(stderr=True), 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("making lists", total=num_lists)
        for part in asked:
            for start in range(0, len(part), _BATCH):
                queries = part.select(np.arange(start, min(start + _BATCH, len(part))))
                ranked = rung.rank(queries, length)
                lines = slice(line, line + len(queries))
                item_row[lines], score[lines] = ranked.item_row, ranked.score
                line = lines.stop
                bar.update(task, completed=line)
    newcomer = rung.rank(nobody.select(np.array([0])), length + 1).item_row[0]
    own = told_apart(item_row[-num_items:], newcomer, num_items)
    item_row[-num_items:][~own], score[-num_items:][~own] = PAD, -np.inf
    log.info("made lists num_lists=%d length=%d", num_lists, length)
    return RankedLists(item_row, score, learned.num_events)


def told_apart(
    lists: Int32[np.ndarray, "N L"], newcomer: Int64[np.ndarray, " L1"], num_items: int
) -> Bool[np.ndarray, "N L"]:
    """What of each title's list is its own, and not what any newcomer is answered.

    A rung that can score few titles goes on as it does for a newcomer; that end, one order in all lists,
    would outvote what the lists say where several are fused. It is the longest end of a list that stands in
    the newcomer's order, if the list, with its own title, lacks nothing that the newcomer is shown so far.
    """
    newcomer = newcomer[newcomer != PAD]
    never = len(newcomer)
    place = np.full(num_items + 1, never)  # the last is that of PAD
    place[newcomer] = np.arange(never)
    found, is_padding = place[lists], lists == PAD
    last = np.maximum((~is_padding).sum(axis=1) - 1, 0)
    end = np.take_along_axis(found, last[:, None], axis=1)[:, 0]
    num_shown = (found <= end[:, None]).sum(axis=1) + (place[:-1] <= end)
    fits = (found < never) | is_padding
    fits[:, :-1] &= (found[:, 1:] > found[:, :-1]) | is_padding[:, 1:]
    ends = np.logical_and.accumulate(fits[:, ::-1], axis=1)[:, ::-1]
    own: np.ndarray = ~(ends & (num_shown == end + 1)[:, None]) & ~is_padding
    return own


def _asked(
    history: Histories, time_seconds: int, country: np.ndarray, profiles: pa.Table | None = None
) -> Queries:
    return Queries(history, np.full(len(history), time_seconds), country, profiles)


def _newest(dataset: Dataset) -> int:
    return int(dataset.history.time_seconds.max(initial=0))


def _description(
    learned: Learned,
    kind: AnswerKind,
    fingerprint: str,
    index: IndexSpec | None = None,
    dimension: int | None = None,
) -> Description:
    dataset = learned.dataset
    return Description(
        kind=kind,
        index=index,
        dimension=dimension,
        num_items=len(dataset.catalogue),
        num_profiles=len(dataset.profiles),
        num_events=dataset.history.num_events,
        model_fingerprint=fingerprint,
        context=learned.context,
        gates=(),
    )


def _finished(
    folder: Path,
    live: Placed | None,
    rung: Recommender,
    learned: Learned,
    description: Description,
    gates: GateSettings,
    store_keys: StoreKeys | None,
    *,
    k: int,
    least: float,
) -> Description:
    """Writes titles and profiles, reads the whole back, and checks what it answers."""
    dataset, num_profiles = learned.dataset, len(learned.dataset.history)
    write_titles(folder, dataset.items)
    weighted = description.kind is AnswerKind.FACTORS
    path, columns = folder / PROFILES_FILE, learned.profile_columns
    write_profiles(dataset, path, columns, weighted=weighted, store_keys=store_keys)
    release, newest = read_parts(folder, folder.name, description, store_keys), _newest(dataset)
    stored = release.profiles
    # Spread evenly over all profiles; the release is asked by what it stores, the rung by what that is of.
    chosen = np.linspace(0, num_profiles - 1, min(gates.num_queries, num_profiles)).astype(np.int64)
    asked = _asked(stored.history, newest, stored.country, stored.features).select(chosen)
    served = release.answers.rank(asked, k, unseen(asked.history))
    own = rung.rank(_asked(dataset.history, newest, dataset.country, dataset.profile_table).select(chosen), k)
    results = [*description.gates, rung_overlap(served, own, least=least)]
    questions = held_out_questions(dataset, learned.context, gates)
    of_titles = titled(release, None if live is None else live.release, dataset, gates)
    results += served_gates(Placed(release, folder), live, questions, gates, of_titles)
    return replace(description, gates=require(results, gates))
