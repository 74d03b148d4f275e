"""History positions per second of RePlay's ParquetModule; run by its own interpreter, prints JSON."""

import json
import sys
import time
import warnings

import torch
from replay.data.nn import ParquetModule  # type: ignore[import-not-found]  # of its own environment

COLUMNS = {"item_row": 0, "time_seconds": 0, "minutes": 0.0, "weight": 0.0}
"""Every column of the log, and what pads it."""


def main(path: str, max_history: int, batch_size: int, partition_size: int) -> None:
    """Prints the seconds of an epoch over the file, and the positions in it that are no padding."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    metadata = {name: {"shape": max_history, "padding": padding} for name, padding in COLUMNS.items()}
    module = ParquetModule(
        batch_size=batch_size,
        metadata={"train": metadata},
        transforms={"train": []},
        config={"train": {"generator": torch.Generator().manual_seed(0), "partition_size": partition_size}},
        train_path=path,
    )
    module.setup("fit")
    next(iter(module.train_dataloader()))  # what only the first batch costs
    begun = time.process_time()
    masks = [batch["item_row_mask"] for batch in module.train_dataloader()]
    seconds = time.process_time() - begun
    print(json.dumps({"seconds": seconds, "positions": sum(int(mask.sum()) for mask in masks)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
