"""Training steps of RecTools' SASRec with its full softmax; run by its own interpreter, prints JSON."""

import json
import resource
import sys
import time
import warnings
from itertools import cycle

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # of its own environment, as all of RecTools
import torch
from rectools import Columns  # type: ignore[import-not-found]
from rectools.dataset import Dataset  # type: ignore[import-not-found]
from rectools.models import SASRecModel  # type: ignore[import-not-found]


def main(path: str, dim: int, max_history: int, batch_profiles: int, num_warm: int, num_timed: int) -> None:
    """Prints the seconds of the timed steps and their positions with an event before and one after them."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    log = np.load(path)
    place = np.arange(len(log["item_row"]))
    events = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(log["offset"]) - 1), np.diff(log["offset"])),
            Columns.Item: log["item_row"],
            Columns.Weight: 1.0,
            # The order is all that it reads of time.
            Columns.Datetime: pd.Timestamp("2000-01-01") + pd.to_timedelta(place, unit="s"),
        }
    )
    model = SASRecModel(
        n_blocks=1,
        n_heads=1,
        n_factors=dim,
        dropout_rate=0.2,
        session_max_len=max_history,
        loss="softmax",
        batch_size=batch_profiles,
    )
    # What `fit` does before it hands over to Lightning.
    model._build_model_from_dataset(Dataset.construct(events))
    learner = model.lightning_model
    learner.on_train_start()
    learner.train()
    optimizer = learner.configure_optimizers()
    loader = model.data_preparator.get_dataloader_train()
    batches = (batch for _ in cycle([0]) for batch in loader)
    positions, begun, loss = 0, 0.0, torch.zeros(())
    for step in range(num_warm + num_timed):
        if step == num_warm:
            positions, begun = 0, time.perf_counter()
        batch = next(batches)
        positions += int(((batch["x"] != 0) & (batch["y"] != 0)).sum())
        loss = learner.loss_calculator(learner.get_batch_logits(batch), batch["y"], batch["yw"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - begun
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "positions": positions, "loss": loss.item(), "peak_mib": peak_mib}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
