"""Whether tables are those that a release was learned from: only then may it be judged on them."""

import numpy as np

from retrieval.retriever import Retriever
from towers.data.dataset import Dataset
from towers.data.histories import Histories
from towers.errors import ReleaseError


def check_provenance(retriever: Retriever, dataset: Dataset, train: Histories) -> None:
    """Raises ReleaseError unless catalogue and train events are those of the release.

    train: the train part of `dataset` under the release's own split. Titles are compared in order, as their
    order gives them their rows; train events by their count per title.
    """
    differs = None
    if dataset.catalogue.ids != retriever.items.vocabulary.ids:
        differs = (
            f"{len(dataset.catalogue)} titles, expected the {len(retriever.items)} of the release in order"
        )
    else:
        num_events = np.bincount(train.item_row, minlength=len(dataset.catalogue))
        num_others = int((num_events != retriever.num_events).sum())
        if num_others:
            differs = f"train events of {num_others} titles differ in number"
    if differs:
        raise ReleaseError(
            f"evaluate: the tables are not those of release {retriever.release_id} ({differs}); "
            "run scripts/build_index.py"
        )
