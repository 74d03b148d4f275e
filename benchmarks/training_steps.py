"""Our side of claim `training-speed`: training steps of the towers, in a process of its own; prints JSON.

The same parts as the peers': next batch, both towers, loss, backward, optimiser. Ids are the only feature.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from itertools import count

import numpy as np
import pyarrow as pa
import torch

from towers.data.batches import Batch, LoaderSettings
from towers.data.feature_encoder import FeatureEncoder, fit_features
from towers.data.features import ID_COLUMN, Feature, FeatureKind, FeatureSettings
from towers.data.histories import Histories
from towers.data.loader import EpochPlan, WindowLoader
from towers.data.split import HeldOut, Split
from towers.data.windows import Blocks, TrainingWindows
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.nets.user_tower import TimeUse
from towers.objectives.settings import ObjectiveSettings
from towers.training.module import TwoTowerModule
from towers.training.settings import TrainerSettings


def main(path: str, dim: int, max_history: int, batch_profiles: int, num_warm: int, num_timed: int) -> None:
    """Prints the seconds of the timed steps and their positions with an event before and one after them."""
    torch.manual_seed(0)
    log = np.load(path)
    num_items, num_events = int(log["num_items"]), len(log["item_row"])
    history = Histories(
        log["offset"],
        log["item_row"],
        log["time_seconds"],
        np.full(num_events, np.nan, np.float32),
        np.ones(num_events, np.float32),
    )
    items = pa.table({ID_COLUMN: [str(row) for row in range(num_items)]})
    profiles = pa.table({"profile_id": [str(row) for row in range(len(history))]})
    features = FeatureSettings([Feature("item_id", FeatureKind.CATEGORICAL, ID_COLUMN)], [])
    encoder = fit_features(items, profiles, features)
    module = _module(encoder, items, _all_train(history, num_items), dim, max_history)
    # Only the trainer gives Lightning's own optimiser its schedule; this is the same one without.
    optimizer = torch.optim.AdamW(module.towers.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    known = encoder.encode_profiles(profiles, np.full(len(history), ""))
    windows = TrainingWindows(history, history.lengths, known, max_history)
    batches = _batches(windows, round(batch_profiles * num_events / len(history)))
    positions, begun, loss = 0, 0.0, torch.zeros(())
    for step in range(num_warm + num_timed):
        if step == num_warm:
            positions, begun = 0, time.perf_counter()
        batch = next(batches)
        positions += int(batch.num_shown.sum())
        loss = module.batch_loss(batch)[0]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    seconds = time.perf_counter() - begun
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "positions": positions, "loss": loss.item(), "peak_mib": peak_mib}))


def _module(
    encoder: FeatureEncoder, items: pa.Table, split: Split, dim: int, max_history: int
) -> TwoTowerModule:
    # The shape that all three have: without what only ours reads, times, and what only ours drops, ids.
    model = ModelSettings(
        dim=dim,
        num_layers=1,
        num_heads=1,
        max_history=max_history,
        time=TimeUse.NONE,
        dropout=0.2,
        embedding_dropout=0.0,
        id_dropout=0.0,
    )
    module = TwoTowerModule(
        TwoTower(model, encoder),
        encoder.encode(items),
        split,
        # No opening is asked: the peers ask none.
        ObjectiveSettings(num_targets=1, num_openings=0),
        TrainerSettings(),
        seed=0,
        lineage="",
        num_batches=lambda _: 1,
    )
    module.train()
    return module


def _all_train(history: Histories, num_items: int) -> Split:
    """Everything is learned from, nothing is held out."""
    none, nowhere = np.zeros(0, np.int64), np.zeros(1, np.int64)
    held = HeldOut(none, Histories.empty(0), none, np.zeros(0, dtype="<U2"), nowhere, none)
    num_watches = np.bincount(history.item_row, minlength=num_items)
    return Split(history, history.lengths, held, held, num_watches)


def _batches(windows: TrainingWindows, batch_positions: int) -> Iterator[Batch]:
    """The batches of one epoch after another."""
    blocks, settings = Blocks.of(windows), LoaderSettings(batch_positions=batch_positions)
    for epoch in count():
        yield from WindowLoader(EpochPlan.of(windows, blocks, settings, 0, epoch))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
