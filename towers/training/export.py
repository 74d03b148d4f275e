"""Trained towers → the export folder that index builds read: safetensors and JSON."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.utilities import rank_zero_only
from safetensors.numpy import save_file

from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.exported import FINGERPRINT, TRAINING_FILE, VECTORS_FILE
from towers.folders import replace_folder
from towers.nets.query_tower import QueryTower, save_query_tower
from towers.nets.two_tower import TwoTower, fingerprint, save_towers

log = logging.getLogger(__name__)


first_process_only = rank_zero_only
"""Makes a function do nothing in all but the first of the processes that train together."""


@first_process_only
def export(
    towers: TwoTower,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    context: Mapping[str, Any],
    query_tower: QueryTower | None = None,
) -> None:
    """Writes the towers, the item vectors and how they came about, replacing the folder as a whole.

    training.json holds `context`, the settings the towers were trained under, as plain values. Where several
    processes train together, the first writes and the others do nothing.

    items.safetensors holds `vector` float32 (N, D) and `num_events` int64 (N,), the train events of each
    item, both in the order of the items table; its metadata names the towers by their fingerprint. A query
    tower stands beside the towers whose item vectors it was fitted to, bound to them in the same way.
    """
    vector = towers.embed(towers.encoder.encode(dataset.items))

    def write(aside: Path) -> None:
        save_towers(towers, aside)
        arrays = {"vector": np.ascontiguousarray(vector), "num_events": split.num_watches}
        save_file(arrays, aside / VECTORS_FILE, metadata={FINGERPRINT: fingerprint(aside)})
        if query_tower is not None:
            save_query_tower(query_tower, aside, fingerprint(aside))
        (aside / TRAINING_FILE).write_text(json.dumps(context, indent=2), encoding="utf-8")

    replace_folder(folder, write)
    log.info("exported items=%d dimension=%d", *vector.shape)
