"""Trained towers → the export folder that index builds read: safetensors and JSON."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.utilities import rank_zero_only
from safetensors.numpy import save_file

from towers.data.dataset import Dataset
from towers.data.split import Split, SplitKind, SplitSettings
from towers.errors import MissingDataError
from towers.nets.two_tower import TwoTower, save_towers

log = logging.getLogger(__name__)

ITEMS_FILE = "items.safetensors"
TRAINING_FILE = "training.json"


first_process_only = rank_zero_only
"""Makes a function do nothing in all but the first of the processes that train together."""


@first_process_only
def export(
    towers: TwoTower, dataset: Dataset, split: Split, folder: Path, *, context: Mapping[str, Any]
) -> None:
    """Writes the towers, the item vectors and how they came about, replacing an older export as a whole.

    training.json holds `context`, the settings the towers were trained under, as plain values. Where several
    processes train together, the first writes and the others do nothing.

    items.safetensors holds `vector` float32 (N, D) and `num_events` int64 (N,), the train events of each
    item, both in the order of the items table.
    """
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    save_towers(towers, aside)
    vector = towers.embed(towers.encoder.encode(dataset.items))
    num_events = np.bincount(split.train.item_row, minlength=len(dataset.catalogue)).astype(np.int64)
    save_file({"vector": np.ascontiguousarray(vector), "num_events": num_events}, aside / ITEMS_FILE)
    (aside / TRAINING_FILE).write_text(json.dumps(context, indent=2), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    log.info("exported items=%d dimension=%d", *vector.shape)


def read_context(folder: Path) -> dict[str, Any]:
    """The `context` that an export was written with; MissingDataError where there is no export."""
    path = folder / TRAINING_FILE
    if not path.is_file():
        raise MissingDataError(f"{path}: no exported model; run scripts/train.py first")
    context: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return context


def split_of(context: Mapping[str, Any]) -> SplitSettings:
    """The split that the towers were trained under, so that no other is ever judged by mistake."""
    return SplitSettings(**{**context["split"], "kind": SplitKind(context["split"]["kind"])})
