"""What a release has beside the one that it is made from: new and changed titles, embedded by its towers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from retrieval.encoder import PrefixEncoder, QueryEncoder
from retrieval.index.spec import Index
from retrieval.index.updates import UpdatedIndex
from retrieval.rebuild.changes import Changes
from retrieval.rebuild.layout import Layout, gathered, layout_of
from retrieval.release.files import ADDED_FILE, read_rows
from retrieval.release.served_gates import Placed
from retrieval.release.store import ReleaseInfo
from retrieval.vectors import VectorAnswers
from towers.data.dataset import Dataset
from towers.data.titles import Titles
from towers.nets.two_tower import TwoTower, load_towers

# Two embeddings of one title differ by rounding alone; what differs more is another vector.
_SAME = 1e-6


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


def towers_of(live: ReleaseInfo, opened: Placed | None) -> TwoTower:
    """The towers of the live release."""
    encoder = None if opened is None else _answers(opened).encoder
    return encoder.towers if isinstance(encoder, QueryEncoder | PrefixEncoder) else load_towers(live.folder)


def whole_rows(live: ReleaseInfo, opened: Placed | None, towers: TwoTower) -> Float32[np.ndarray, "R D"]:
    """The vectors of all rows of the live release, whole: read where it searches by less of them."""
    if opened is not None and (vectors := _answers(opened).vectors).shape[1] == towers.settings.dim:
        return vectors
    return read_rows(live.folder, mapped=True)[0]


def base_of(opened: Placed | None) -> Index | None:
    """The index of the live release as it was built, where that one is open."""
    if opened is None:
        return None
    index = _answers(opened).index
    return index.base if isinstance(index, UpdatedIndex) else index


def _answers(opened: Placed) -> VectorAnswers:
    answers = opened.release.answers
    assert isinstance(answers, VectorAnswers)  # no other kind has towers
    return answers


def made_delta(
    vectors: Float32[np.ndarray, "R D"], num_built: int, towers: TwoTower, dataset: Dataset, changes: Changes
) -> Delta:
    """New and changed titles embedded by the live towers; one whose vector stays as it was keeps its row.

    vectors, num_built: of all rows of the live release, and how many of them are the build's.
    """
    asked = changes.added | changes.changed
    new = embedded(towers, dataset.titles, asked)
    differs = changes.added.copy()
    again = changes.changed[asked]
    if again.any():
        before = vectors[changes.live_row[changes.changed]]
        # A vector that is no number differs too: it is for the gates to see, not to be left aside.
        differs[changes.changed] = ~(np.abs(new[again] - before).max(axis=1) <= _SAME)
    layout = layout_of(changes.live_row, differs, num_built)
    added = gathered(vectors, changes.live_row, differs, new[differs[asked]], layout.added)
    return Delta(layout, added, int(asked.sum()), int(differs.sum()))


def embedded(
    towers: TwoTower, titles: Titles, chosen: Bool[np.ndarray, " n"] | Int64[np.ndarray, " m"]
) -> Float32[np.ndarray, "m D"]:
    """Unit vectors of some titles, by a mask or by their places."""
    place = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    if len(place) == 0:
        return np.empty((0, towers.settings.dim), np.float32)
    return towers.embed(towers.encoder.encode(titles.some(place)))


def has_updates(live: ReleaseInfo) -> bool:
    """Whether a release was itself made from another, so that its index has updates."""
    return ADDED_FILE in live.manifest.files
