"""A release made from the live one, written, gated and published: what is as it was is the same file."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from retrieval.catalogue import NO_TITLE, Catalogue
from retrieval.eligibility import bitmaps
from retrieval.eligibility.compile import Eligibility
from retrieval.index.updates import UPDATES_FILE, read_counts, save_updates
from retrieval.index.upkeep import UpkeepSettings
from retrieval.profiles import write_profiles
from retrieval.rebuild.changes import Changes
from retrieval.rebuild.delta import Delta, has_updates, made_delta, whole_rows
from retrieval.rebuild.delta_gates import gated
from retrieval.rebuild.layout import Layout, in_rows, lines_of
from retrieval.release.certificate import CERTIFICATE_FILE
from retrieval.release.eligibility_gates import share_available
from retrieval.release.files import ADDED_FILE, MODEL_FILES, PROFILES_FILE, query_files
from retrieval.release.gates import GateSettings, require
from retrieval.release.linked import link
from retrieval.release.manifest import Description, GateResult
from retrieval.release.read import Known, read_parts
from retrieval.release.served_gates import Placed, held_out_questions, served_gates, title_gates
from retrieval.release.store import ReleaseInfo, publish
from retrieval.release.titles import (
    ITEMS_FILE,
    LINES_FILE,
    read_lines,
    read_rows_of_lines,
    read_titles,
    updated,
    write_lines,
    write_titles,
)
from towers.data.dataset import Dataset
from towers.data.privacy.sealed import StoreKeys
from towers.data.split import split, split_of
from towers.data.vocabulary import Vocabulary
from towers.errors import IntegrityError
from towers.evaluation.cut import cut
from towers.exported import VECTORS_FILE
from towers.nets.two_tower import load_towers

log = logging.getLogger(__name__)


def publish_delta(
    root: Path,
    live: ReleaseInfo,
    opened: Placed | None,
    dataset: Dataset,
    changes: Changes,
    gates: GateSettings,
    upkeep: UpkeepSettings,
    store_keys: StoreKeys | None = None,
) -> ReleaseInfo:
    """The release that the live one becomes by newer tables, gated, published and current.

    opened: the live one, None where it cannot be opened; store_keys: as in `build_release`. Raises
    SlippedError where the index is due to be built anew instead, GateError where another gate fails,
    ConflictError where another release became current meanwhile; then nothing has changed.
    """
    towers = load_towers(live.folder)
    vectors = whole_rows(live, opened, towers)
    num_built = read_counts(live.folder)[0] if has_updates(live) else len(vectors)
    delta = made_delta(vectors, num_built, towers, dataset, changes)
    titles = read_titles(live.folder) if opened is None else opened.release.catalogue.table
    gates = replace(gates, num_queries=min(gates.num_queries, upkeep.num_queries))

    def write(folder: Path) -> Description:
        about = replace(
            live.manifest.description,
            num_items=len(dataset.catalogue),
            num_profiles=len(dataset.profiles),
            num_events=dataset.history.num_events,
            gates=(),
        )
        # Titles are judged beside the vectors: neither needs the other.
        with ThreadPoolExecutor(1, thread_name_prefix="titles") as aside:
            rules = aside.submit(_rules, opened)
            catalogue = _written(folder, live, titles, dataset, delta.layout, changes)
            placed = in_rows(dataset, delta.layout, catalogue)
            _write(folder, live, delta, placed)
            if changes.histories or store_keys is not None:
                columns = towers.encoder.profile_columns
                write_profiles(dataset, folder / PROFILES_FILE, columns, store_keys=store_keys)
            else:  # sealed ones open in no other place
                link(live.folder / PROFILES_FILE, folder / PROFILES_FILE)
            known = Known(catalogue, vectors[:num_built])
            release = read_parts(folder, folder.name, about, store_keys, known)

            def judged() -> list[GateResult]:
                return title_gates(release, opened, dataset, gates, rules.result(), delta.layout.row)

            judging = aside.submit(judged)
            results = gated(release, towers, dataset, placed, delta, folder, gates, upkeep)
            of_titles = judging.result()
        questions = held_out_questions(placed, about.context, gates)
        served = served_gates(Placed(release, folder), opened, placed, questions, gates, of_titles)
        return replace(about, gates=require([*results, *served], gates))

    log.info(
        "delta made num_embedded=%d num_new_vectors=%d num_added=%d num_gone=%d",
        delta.num_embedded,
        delta.num_new_vectors,
        len(delta.added),
        int((~delta.layout.there).sum()),
    )
    return publish(root, write, only_over=live.release_id)


def _write(folder: Path, live: ReleaseInfo, delta: Delta, placed: Dataset) -> None:
    """The files of the release but for titles, profiles and certificate: what is as it was is linked."""
    kept = (*MODEL_FILES, *query_files(live.manifest.files), VECTORS_FILE)
    for name in live.manifest.files:
        of_build = name.startswith("index") and name not in (UPDATES_FILE, CERTIFICATE_FILE)
        if of_build or name in kept:
            link(live.folder / name, folder / name)
    layout, about = delta.layout, live.manifest.description
    num_events = split(placed, split_of(about.context)).num_watches
    (folder / ADDED_FILE).write_bytes(save({"vector": delta.added, "num_events": num_events}))
    searched = delta.added
    if about.dimension is not None and about.dimension < searched.shape[1]:
        searched = cut(searched, about.dimension)
    save_updates(
        folder,
        bitmaps.from_mask(layout.there),
        searched,
        np.arange(layout.num_built, layout.num_rows),
        (layout.num_built, layout.num_rows),
    )


def _rules(opened: Placed | None) -> Eligibility | None:
    """Of the live titles, their licences read: those that `title_gates` asks for."""
    if opened is None:
        return None
    rules = Eligibility(opened.release.catalogue)
    share_available(rules, opened.release)
    return rules


def _written(
    folder: Path, live: ReleaseInfo, titles: pa.Table, dataset: Dataset, layout: Layout, changes: Changes
) -> Catalogue:
    """The titles, as what is written of them is read back: the build's stay the file they are.

    titles: of the live release, a line for each row.
    """
    own = LINES_FILE in live.manifest.files
    before = read_rows_of_lines(live.folder) if own else np.arange(0)
    built = titles.slice(0, layout.num_built)
    if own or len(titles) == layout.num_built:
        link(live.folder / ITEMS_FILE, folder / ITEMS_FILE)
    else:  # lines of what was added lie in the build's file, as they did once
        write_titles(folder, built)
        built = read_titles(folder)
    lines = lines_of(dataset, layout, changes.described, before)
    if len(lines.row):
        write_lines(folder, lines)
        items = updated(built, read_lines(folder))
    else:
        items = built
    if not items["item_id"].take(pa.array(layout.row)).equals(dataset.items["item_id"]):
        raise IntegrityError(
            f"{folder}: titles are not in their rows; expected each where {LINES_FILE} or {ITEMS_FILE} has it"
        )
    return Catalogue(items, Vocabulary.of_unique(items["item_id"], gap=NO_TITLE))
