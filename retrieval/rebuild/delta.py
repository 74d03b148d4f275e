"""A release made from the live one: new and changed titles beside the index as it was built."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64
from safetensors.numpy import save

from retrieval.catalogue import NO_TITLE, Catalogue
from retrieval.eligibility import bitmaps
from retrieval.eligibility.compile import Eligibility
from retrieval.index.updates import UPDATES_FILE, UpdatedIndex, num_rows_of, read_counts, save_updates
from retrieval.index.upkeep import Due, UpkeepSettings, due
from retrieval.profiles import write_profiles
from retrieval.rebuild.changes import Changes
from retrieval.rebuild.layout import Layout, gathered, in_rows, layout_of, lines_of
from retrieval.release.certificate import CERTIFICATE_FILE, Certificate, write_certificate
from retrieval.release.eligibility_gates import share_available
from retrieval.release.files import (
    ADDED_FILE,
    MODEL_FILES,
    PROFILES_FILE,
    query_files,
    read_rows,
)
from retrieval.release.gates import Candidate, GateSettings, check_gates, require
from retrieval.release.linked import link
from retrieval.release.manifest import Description, GateResult
from retrieval.release.read import Known, Release, read_parts
from retrieval.release.saved_index import gate_queries, new_queries
from retrieval.release.served_gates import Placed, held_out_questions, served_gates, title_gates
from retrieval.release.store import ReleaseInfo, publish
from retrieval.release.titles import (
    ITEMS_FILE,
    LINES_FILE,
    read_lines,
    read_titles,
    updated,
    write_lines,
    write_titles,
)
from retrieval.vectors import VectorAnswers
from towers.data.dataset import Dataset
from towers.data.privacy.sealed import StoreKeys
from towers.data.split import split, split_of
from towers.data.vocabulary import Vocabulary
from towers.errors import GateError, IntegrityError
from towers.evaluation.cut import cut
from towers.exported import VECTORS_FILE
from towers.nets.two_tower import TwoTower, load_towers

log = logging.getLogger(__name__)

# Titles that keep their vector and are embedded all the same, to see that the towers still give it.
_NUM_PARITY = 1000
# Two embeddings of one title differ by rounding alone; what differs more is another vector.
_SAME = 1e-6


class SlippedError(Exception):
    """The index with its updates is due to be built anew; `reasons` says why. Never leaves the rebuild."""

    def __init__(self, reasons: Sequence[Due]) -> None:
        super().__init__(", ".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True)
class Delta:
    """What a delta holds, before it is written.

    layout: the rows of its titles. added: float32 (M, D), whole vectors of the titles of `layout.added`.
    num_embedded: titles that were embedded; num_new_vectors: those whose vector is new or another.
    """

    layout: Layout
    added: Float32[np.ndarray, "M D"]
    num_embedded: int
    num_new_vectors: int


def whole_rows(live: ReleaseInfo, opened: Placed | None, towers: TwoTower) -> Float32[np.ndarray, "R D"]:
    """The vectors of all rows of the live release, whole: read where it searches by less of them."""
    if opened is not None:
        answers = opened.release.answers
        assert isinstance(answers, VectorAnswers)  # no other kind has towers
        if answers.vectors.shape[1] == towers.settings.dim:
            return answers.vectors
    return read_rows(live.folder)[0]


def made_delta(
    vectors: Float32[np.ndarray, "R D"], num_built: int, towers: TwoTower, dataset: Dataset, changes: Changes
) -> Delta:
    """New and changed titles embedded by the live towers; one whose vector stays as it was keeps its row.

    vectors, num_built: of all rows of the live release, and how many of them are the build's.
    """
    asked = changes.added | changes.changed
    new = embedded(towers, dataset.items, asked)
    differs = changes.added.copy()
    again = changes.changed[asked]
    if again.any():
        before = vectors[changes.live_row[changes.changed]]
        differs[changes.changed] = np.abs(new[again] - before).max(axis=1) > _SAME
    layout = layout_of(changes.live_row, differs, num_built)
    added = gathered(vectors, changes.live_row, differs, new[differs[asked]], layout.added)
    return Delta(layout, added, int(asked.sum()), int(differs.sum()))


def embedded(
    towers: TwoTower, items: pa.Table, chosen: Bool[np.ndarray, " n"] | Int64[np.ndarray, " m"]
) -> Float32[np.ndarray, "m D"]:
    """Unit vectors of some titles of an items table, by a mask or by their places."""
    place = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    if len(place) == 0:
        return np.empty((0, towers.settings.dim), np.float32)
    return towers.embed(towers.encoder.encode(items.take(pa.array(place))))


def has_updates(live: ReleaseInfo) -> bool:
    """Whether a release was itself made from another, so that its index has updates."""
    return ADDED_FILE in live.manifest.files


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
            results = _gated(release, towers, dataset, placed, delta, folder, gates, upkeep)
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
    """The titles, as they are read back from what is written of them: the build's stay the file they are.

    titles: of the live release, a line for each row.
    """
    own = LINES_FILE in live.manifest.files
    built, before = titles.slice(0, layout.num_built), read_lines(live.folder).row if own else np.arange(0)
    if own or len(titles) == layout.num_built:
        link(live.folder / ITEMS_FILE, folder / ITEMS_FILE)
    else:  # lines of what was added lie in the build's file, as they did once
        write_titles(folder, built)
    write_lines(folder, lines_of(dataset, layout, changes.described, before))
    items = updated(built, read_lines(folder))
    if not items["item_id"].take(pa.array(layout.row)).equals(dataset.items["item_id"]):
        raise IntegrityError(
            f"{folder / LINES_FILE}: read back, titles are not in their rows; expected what was written"
        )
    return Catalogue(items, Vocabulary.of_unique(items["item_id"], gap=NO_TITLE))


def _gated(
    release: Release,
    towers: TwoTower,
    dataset: Dataset,
    placed: Dataset,
    delta: Delta,
    folder: Path,
    gates: GateSettings,
    upkeep: UpkeepSettings,
) -> tuple[GateResult, ...]:
    """Every gate over the titles that there are, as of a build; what slips is told from what is wrong."""
    answers = release.answers
    assert isinstance(answers, VectorAnswers)  # no other kind has an index
    index = answers.index
    assert isinstance(index, UpdatedIndex)
    rows = index.rows()
    vectors = read_rows(folder)[0][rows] if answers.vectors.shape[1] < delta.added.shape[1] else None
    every = len(rows) == len(answers.vectors)
    searched = answers.vectors if every else answers.vectors[rows]
    place = np.empty(delta.layout.num_rows, np.int64)
    place[delta.layout.row] = np.arange(len(delta.layout.row))
    asked = gate_queries(placed, gates.num_queries)
    kept: list[Certificate] = []

    def keep(certificate: Certificate) -> None:
        kept.append(certificate)
        write_certificate(certificate, folder)

    whole = searched if vectors is None else vectors
    again = _spread(len(whole), _NUM_PARITY)
    candidate = Candidate(
        item_id=release.catalogue.ids,
        vectors=whole,
        searched=searched,
        num_events=release.num_events[rows],
        # All of them would take as long as a build.
        embed=lambda: embedded(towers, dataset.items, place[rows[again]]),
        encode=lambda: answers.encoder.encode(asked),
        build=lambda: ClosedUp(index),
        length=asked.history.lengths,
        encode_new=lambda: answers.encoder.encode(new_queries(placed, gates.num_queries)),
        keep=keep,
        embedded=again,
    )
    failed: GateError | None = None
    results: tuple[GateResult, ...] = ()
    try:
        results = check_gates(candidate, gates)
    except GateError as error:
        failed = error
    recall = kept[0].slices[0].recall if kept else None
    if kept and (reasons := due(index, recall, upkeep)):
        raise SlippedError(reasons) from failed
    if failed is not None:
        raise failed
    return results


def _spread(num: int, most: int) -> Int64[np.ndarray, " n"]:
    """At most so many places, spread evenly over all."""
    return np.unique(np.linspace(0, num - 1, min(most, num)).astype(np.int64))


class ClosedUp:
    """An index with updates by the places of its rows among those that are there; an `Index`."""

    def __init__(self, index: UpdatedIndex) -> None:
        self._index = index
        rows = index.rows()
        self._place = np.full(num_rows_of(index) + 1, -1)  # row -1 is the last
        self._place[rows] = np.arange(len(rows))

    @property
    def size(self) -> int:
        """Items that are there."""
        return self._index.size

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return self._index.dimension

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k of what is there; see `Index.search`."""
        score, row = self._index.search(query, k)
        return score, self._place[row]

    def save(self, folder: Path) -> None:
        """As the index that it is of."""
        self._index.save(folder)
