"""Whether tables are those that a release was learned from: only then may it be judged on them."""

from pathlib import Path

import numpy as np

from retrieval.retriever import Retriever
from towers.data.dataset import Dataset
from towers.data.histories import Histories
from towers.data.privacy.state import lost_forgotten
from towers.data.split import SplitKind, split_of
from towers.errors import ReleaseError


def check_provenance(retriever: Retriever, tables: Path, dataset: Dataset, train: Histories) -> None:
    """Raises ReleaseError unless catalogue and train events are those of the release.

    dataset: of the tables; train: its train part under the release's own split. Titles are compared in order,
    as their order gives them their rows; train events by their count per title. Profiles that were forgotten
    since may be gone, where each profile's events are split by themselves: a moment that splits all of them
    moves when some go, and what was learned from would be judged on.
    """
    differs = None
    if dataset.catalogue.ids != retriever.items.vocabulary.ids:
        differs = (
            f"{len(dataset.catalogue)} titles, expected the {len(retriever.items)} of the release in order"
        )
    else:
        num_events = np.bincount(train.item_row, minlength=len(dataset.catalogue))
        num_others = int((num_events != retriever.num_events).sum())
        apart = split_of(retriever.context).kind is SplitKind.LEAVE_ONE_OUT
        if num_others and not (apart and lost_forgotten(tables, retriever.context)):
            differs = f"train events of {num_others} titles differ in number"
    if differs:
        raise ReleaseError(
            f"evaluate: the tables are not those of release {retriever.release_id} ({differs}); "
            "run scripts/build_index.py"
        )
