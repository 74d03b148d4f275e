"""Whether a delta may be served: the gates of a build, over the titles that there are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from retrieval.id_table import IdTable
from retrieval.index.updates import UpdatedIndex, num_rows_of
from retrieval.index.upkeep import Due, UpkeepSettings, due
from retrieval.rebuild.delta import Delta, embedded
from retrieval.release.certificate import Certificate, write_certificate
from retrieval.release.files import read_rows
from retrieval.release.gates import Candidate, GateSettings, check_gates
from retrieval.release.manifest import GateResult
from retrieval.release.read import Release
from retrieval.release.saved_index import gate_queries, new_queries
from retrieval.release.titles import Drawn
from retrieval.vectors import VectorAnswers
from towers.data.dataset import Dataset
from towers.data.order import spread
from towers.errors import GateError
from towers.nets.two_tower import TwoTower

# Titles of the build that are embedded again beside what was added: to see that the towers still give its
# vectors. They stand together in its file, which is not decoded whole for them.
_NUM_PARITY = 1000
# A third of the profiles are asked for as if they were new, too, and so many where there are: it is one slice
# of five, and the exact answers are most of what judging a delta takes.
_NEW_ONE_IN, _MIN_NEW = 3, 100


class SlippedError(Exception):
    """The index with its updates is due to be built anew; `reasons` says why. Never leaves the rebuild."""

    def __init__(self, reasons: Sequence[Due]) -> None:
        super().__init__(", ".join(reasons))
        self.reasons = tuple(reasons)


def gated(
    release: Release,
    ids: IdTable,
    towers: TwoTower,
    dataset: Dataset,
    placed: Dataset,
    delta: Delta,
    folder: Path,
    drawn: Drawn,
    gates: GateSettings,
    upkeep: UpkeepSettings,
) -> tuple[GateResult, ...]:
    """Every gate over the titles that there are, as of a build; what slips is told from what is wrong.

    ids: of its catalogue. drawn: titles of the build, of which some are embedded again.
    """
    answers = release.answers
    assert isinstance(answers, VectorAnswers)  # no other kind has an index
    index = answers.index
    assert isinstance(index, UpdatedIndex)
    rows = index.rows()
    vectors = read_rows(folder)[0][rows] if answers.vectors.shape[1] < delta.added.shape[1] else None
    every = len(rows) == len(answers.vectors)
    searched = answers.vectors if every else answers.vectors[rows]
    item_id = release.catalogue.vocabulary.column
    place = np.empty(delta.layout.num_rows, np.int64)
    place[delta.layout.row] = np.arange(len(delta.layout.row))
    asked = gate_queries(placed, gates.num_queries)
    num_new = max(gates.num_queries // _NEW_ONE_IN, min(gates.num_queries, _MIN_NEW))
    kept: list[Certificate] = []

    def keep(certificate: Certificate) -> None:
        kept.append(certificate)
        write_certificate(certificate, folder)

    whole = searched if vectors is None else vectors
    # Of what was added every one: a few that are wrong would hide between a thousand of a large catalogue.
    near = np.flatnonzero((rows >= drawn.first) & (rows < drawn.first + drawn.num))
    some = spread(near if len(near) else np.arange(len(rows)), _NUM_PARITY)
    again = np.union1d(some, np.flatnonzero(rows >= delta.layout.num_built))
    candidate = Candidate(
        item_id=item_id if every else item_id.take(pa.array(rows)),
        vectors=whole,
        searched=searched,
        num_events=release.num_events[rows],
        # All of them would take as long as a build.
        embed=lambda: embedded(towers, dataset.titles, place[rows[again]]),
        encode=lambda: answers.encoder.encode(asked),
        build=lambda: ClosedUp(index),
        length=asked.history.lengths,
        encode_new=lambda: answers.encoder.encode(new_queries(placed, num_new)),
        keep=keep,
        is_unit=True,
        embedded=again,
        num_repeated=ids.num_repeated,
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
