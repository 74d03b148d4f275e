"""History positions per second of a map-style torch Dataset with a DataLoader; prints JSON."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

COLUMNS = ("item_row", "time_seconds", "minutes", "weight")
"""Every column of the log."""


class Windows(Dataset[dict[str, Tensor]]):
    """One window of a history an item, its columns as tensors."""

    def __init__(self, folder: Path) -> None:
        # As plain arrays: a memmap pays for its name at every slice.
        self.columns = {n: np.asarray(np.load(folder / f"{n}.npy", mmap_mode="r")) for n in COLUMNS}
        self.bounds = np.load(folder / "window.npy")

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, window: int) -> dict[str, Tensor]:
        start, stop = self.bounds[window].tolist()
        return {name: torch.tensor(column[start:stop]) for name, column in self.columns.items()}


def pad(windows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The batch of some windows, padded to the longest, with the length of each."""
    batch = {name: pad_sequence([w[name] for w in windows], batch_first=True) for name in COLUMNS}
    batch["length"] = torch.tensor([len(w["item_row"]) for w in windows])
    return batch


def main(folder: str, batch_size: int) -> None:
    """Prints the seconds of an epoch over the windows, and the positions in them."""
    torch.set_num_threads(1)
    loader = DataLoader(Windows(Path(folder)), batch_size=batch_size, shuffle=True, collate_fn=pad)
    next(iter(loader))  # what only the first batch costs
    begun = time.process_time()
    lengths = [batch["length"] for batch in loader]
    seconds = time.process_time() - begun
    print(json.dumps({"seconds": seconds, "positions": sum(int(length.sum()) for length in lengths)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
