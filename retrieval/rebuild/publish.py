"""A release made from the live one, written, gated and published: what is as it was is the same file."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from retrieval.catalogue import Catalogue
from retrieval.eligibility import bitmaps
from retrieval.index.updates import UPDATES_FILE, read_counts, save_updates
from retrieval.index.upkeep import UpkeepSettings
from retrieval.profiles import write_profiles
from retrieval.rebuild.changes import Changes
from retrieval.rebuild.delta import Delta, base_of, has_updates, made_delta, towers_of, whole_rows
from retrieval.rebuild.delta_gates import gated
from retrieval.rebuild.delta_titles import of_delta, parity_of_delta, said_licences
from retrieval.rebuild.layout import Layout, in_rows, lines_of
from retrieval.rebuild.live_titles import with_lines
from retrieval.release.answered import Answered
from retrieval.release.certificate import CERTIFICATE_FILE
from retrieval.release.digests import DIGESTS_FILE, write_digests
from retrieval.release.files import ADDED_FILE, MODEL_FILES, PROFILES_FILE, query_files
from retrieval.release.gates import GateSettings, require
from retrieval.release.linked import link
from retrieval.release.manifest import Description
from retrieval.release.read import Known, read_parts
from retrieval.release.served_gates import Placed, answers_of, held_out_questions, served_gates
from retrieval.release.store import ReleaseInfo, publish
from retrieval.release.title_gates import Titled, title_gates
from retrieval.release.titles import (
    ITEMS_FILE,
    LINES_FILE,
    Lines,
    drawn_titles,
    read_lines,
    read_rows_of_lines,
    read_titles,
    write_lines,
    write_titles,
)
from towers.data.dataset import Dataset
from towers.data.privacy.sealed import StoreKeys
from towers.data.split import split, split_of
from towers.data.vocabulary import OOV
from towers.errors import IntegrityError
from towers.evaluation.cut import cut
from towers.exported import VECTORS_FILE

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
    towers = towers_of(live, opened)
    vectors = whole_rows(live, opened, towers)
    num_built = read_counts(live.folder)[0] if has_updates(live) else len(vectors)
    gates = replace(gates, num_queries=min(gates.num_queries, upkeep.num_queries))
    # Titles are judged beside the vectors: neither needs the other.
    with ThreadPoolExecutor(1, thread_name_prefix="titles") as aside:
        said = aside.submit(said_licences, live.folder, dataset, changes)
        begun: list[Future[Any]] = [said]
        delta = made_delta(vectors, num_built, towers, dataset, changes)
        log.info(
            "delta made num_embedded=%d num_new_vectors=%d num_added=%d num_gone=%d",
            delta.num_embedded,
            delta.num_new_vectors,
            len(delta.added),
            int((~delta.layout.there).sum()),
        )

        def write(folder: Path) -> Description:
            about = replace(
                live.manifest.description,
                num_items=len(dataset.catalogue),
                num_profiles=len(dataset.profiles),
                num_events=dataset.history.num_events,
                gates=(),
            )
            layout = delta.layout
            catalogue, lines = _written(folder, live, dataset, layout, changes)
            parity = aside.submit(parity_of_delta, folder, dataset, layout, changes, lines)
            begun.append(parity)
            placed = in_rows(dataset, layout, catalogue)
            _write(folder, live, delta, placed)
            if changes.histories or store_keys is not None:
                columns = towers.encoder.profile_columns
                write_profiles(dataset, folder / PROFILES_FILE, columns, store_keys=store_keys)
            else:  # sealed ones open in no other place
                link(live.folder / PROFILES_FILE, folder / PROFILES_FILE)
            ids = catalogue.id_table()
            known = Known(catalogue, vectors[:num_built], base_of(opened), ids=ids, for_a_job=True)
            release = read_parts(folder, folder.name, about, store_keys, known)
            older = None if opened is None else opened.release.profiles

            live_row = np.full(layout.num_rows, OOV)
            live_row[layout.row] = changes.live_row
            row, questions = np.arange(layout.num_rows), held_out_questions(placed, about.context, gates)

            def judged() -> tuple[Titled, tuple[Answered | None, Answered | None]]:
                found = of_delta(release.profiles, older, dataset, changes, parity.result(), said.result())
                titled = Titled(title_gates(found, dataset, gates), row, live_row, dataset.titles.nbytes)
                return titled, answers_of(
                    release, None if opened is None else opened.release, questions, titled
                )

            judging = aside.submit(judged)
            begun.append(judging)
            drawn = drawn_titles(folder, live.release_id)
            results = gated(release, ids, towers, dataset, placed, delta, folder, drawn, gates, upkeep)
            titled, answers = judging.result()
            served = served_gates(Placed(release, folder), opened, questions, gates, titled, answers)
            return replace(about, gates=require([*results, *served], gates))

        def write_alone(folder: Path) -> Description:
            try:
                return write(folder)
            finally:  # whatever stopped it, nobody looks at the folder any more
                for one in begun:
                    one.cancel()
                wait(begun)

        return publish(root, write_alone, only_over=live.release_id)


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


def _written(
    folder: Path, live: ReleaseInfo, dataset: Dataset, layout: Layout, changes: Changes
) -> tuple[Catalogue, Lines]:
    """The titles, and what is said of them since the build, as what is written is read back.

    The build's stay the file they are. Raises IntegrityError where a title does not say what the tables say.
    """
    titles, files = changes.titles, live.manifest.files
    own, built = LINES_FILE in files, titles.built
    if own or titles.catalogue.num_rows == layout.num_built:
        link(live.folder / ITEMS_FILE, folder / ITEMS_FILE)
        if titles.is_kept:
            link(live.folder / DIGESTS_FILE, folder / DIGESTS_FILE)
        else:
            write_digests(folder, built)
    else:  # lines of what was added lie in the build's file, as they did once
        write_titles(folder, titles.catalogue.table.slice(0, layout.num_built))
        built = built[: layout.num_built]
    before = read_rows_of_lines(live.folder) if own else np.arange(0)
    lines = lines_of(dataset, layout, changes.described, before)
    if len(lines.row):
        write_lines(folder, lines)
        lines = read_lines(folder)
    digest = with_lines(built, lines, titles.key)
    if len(digest) != layout.num_rows or not np.array_equal(digest[layout.row], changes.digest):
        raise IntegrityError(
            f"{folder}: titles are not as the tables have them; expected each where {ITEMS_FILE} "
            f"or {LINES_FILE} has it"
        )
    item_id = read_titles(folder, ["item_id"])["item_id"]
    return Catalogue.of_ids(item_id, lambda: read_titles(folder)), lines
