"""Our metrics beside RecTools' on the same random rankings: the largest difference of each.

    python -m benchmarks.studies.metric_oracle

RecTools is installed apart, in an environment of its own. Its MAP is over all targets of a query, ours over
no more than k: its values are taken times |targets| / min(|targets|, k). Its other novelty and inequality
figures are defined otherwise than ours.
"""

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.claims import BenchmarkError
from benchmarks.environment import peer_python
from towers.data.histories import Histories
from towers.data.split import HeldOut
from towers.evaluation.evaluate import evaluate
from towers.recommender import PAD, Queries, Rankings

RECTOOLS = ("rectools==0.19.0",)
PEER = Path(__file__).resolve().parent.parent / "peers" / "rectools_metrics.py"
NUM_QUERIES, NUM_ITEMS, NUM_HISTORY, KS = 500, 300, 8, (1, 5, 10, 50)
TOLERANCE = 1e-9


class Fixed:
    """Answers the questions, asked all at once, with rankings made beforehand."""

    def __init__(self, item_row: np.ndarray) -> None:
        self.item_row = item_row

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The first k places."""
        rows = self.item_row[: len(queries), :k]
        return Rankings(rows, np.where(rows == PAD, -np.inf, -np.arange(k)).astype(np.float32))


def main() -> None:
    """Prints the largest difference of each metric, and whether all are within 1e-9."""
    rng = np.random.default_rng(0)
    rows = rng.permuted(np.tile(np.arange(NUM_ITEMS), (NUM_QUERIES, 1)), axis=1)
    history, item_row, others = rows[:, :NUM_HISTORY], rows[:, NUM_HISTORY:][:, : KS[-1]].copy(), rows
    num_filled = rng.integers(1, KS[-1] + 1, NUM_QUERIES)
    num_filled[: NUM_QUERIES // 2] = KS[-1]
    item_row[np.arange(KS[-1]) >= num_filled[:, None]] = PAD
    # From one target to more than there are places at the small k, anywhere but in the history.
    num_targets = rng.integers(1, 41, NUM_QUERIES)
    targets = [rng.permutation(others[q, NUM_HISTORY:])[: num_targets[q]] for q in range(NUM_QUERIES)]
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_targets)])
    train_item = rng.zipf(1.3, 20_000) % NUM_ITEMS
    num_watches = np.bincount(train_item, minlength=NUM_ITEMS)
    held_out = HeldOut(
        profile_row=np.arange(NUM_QUERIES),
        history=Histories(
            np.arange(NUM_QUERIES + 1) * NUM_HISTORY,
            history.ravel(),
            np.tile(np.arange(NUM_HISTORY), NUM_QUERIES),
            np.full(history.size, np.nan, np.float32),
        ),
        time_seconds=np.full(NUM_QUERIES, NUM_HISTORY),
        country=np.full(NUM_QUERIES, ""),
        target_offset=offset,
        target_row=np.concatenate(targets),
    )
    ours = evaluate(Fixed(item_row), held_out, num_items=NUM_ITEMS, ks=KS, num_watches=num_watches)
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(
            folder / "rankings.npz",
            item_row=item_row,
            history=history,
            num_items=NUM_ITEMS,
            ks=np.array(KS),
            target_query=np.repeat(np.arange(NUM_QUERIES), num_targets),
            target_row=held_out.target_row,
            train_profile=np.arange(len(train_item)),
            train_item=train_item,
        )
        python = peer_python("rectools", RECTOOLS)
        subprocess.run([str(python), str(PEER), str(folder)], check=True)
        theirs = dict(np.load(folder / "rectools.npz"))
    largest: dict[str, float] = {}
    for k in KS:
        theirs[f"average_precision@{k}"] *= num_targets / np.minimum(num_targets, k)
        found = {
            **{name: ours.per_query(name) for name in ours.means if name.endswith(f"@{k}")},
            f"coverage@{k}": ours.coverage[k],
            f"popularity_lift@{k}": ours.concentration[k].popularity_lift,
        }
        largest |= {name: float(np.abs(value - theirs[name]).max()) for name, value in found.items()}
    agree = max(largest.values()) <= TOLERANCE
    print(json.dumps({"rectools": RECTOOLS, "largest_difference": largest, "within_1e-9": agree}, indent=2))
    if not agree:
        raise BenchmarkError(f"{RECTOOLS[0]}: metrics differ by up to {max(largest.values()):g}")


if __name__ == "__main__":
    main()
