"""RecTools' metrics of rankings, per query, in its own environment; reads and writes .npz in a folder."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped,unused-ignore]
from rectools import Columns  # type: ignore[import-not-found]  # of its own environment
from rectools.metrics import (  # type: ignore[import-not-found]
    MAP,
    MRR,
    NDCG,
    AvgRecPopularity,
    CatalogCoverage,
    Recall,
)


def main(folder: Path) -> None:
    """Every metric at every k of rankings.npz, into rectools.npz."""
    made = np.load(folder / "rankings.npz")
    item_row, num_items = made["item_row"], int(made["num_items"])
    reco = pairs(item_row)
    history = pairs(made["history"])
    targets = pd.DataFrame({Columns.User: made["target_query"], Columns.Item: made["target_row"]})
    train = pd.DataFrame({Columns.User: made["train_profile"], Columns.Item: made["train_item"]})
    found = {}
    for k in made["ks"].tolist():
        per_query = {
            "recall": Recall(k),
            "ndcg": NDCG(k, divide_by_achievable=True),
            "reciprocal_rank": MRR(k),
            "average_precision": MAP(k),  # over all targets of a query, however many there are
        }
        for name, metric in per_query.items():
            found[f"{name}@{k}"] = metric.calc_per_user(reco, targets).sort_index().to_numpy()
        found[f"coverage@{k}"] = np.array(CatalogCoverage(k, normalize=True).calc(reco, range(num_items)))
        shown = AvgRecPopularity(k).calc(reco, train)
        watched = AvgRecPopularity(made["history"].shape[1]).calc(history, train)
        found[f"popularity_lift@{k}"] = np.array(shown / watched)
    np.savez(folder / "rectools.npz", **found)


def pairs(rows: np.ndarray) -> pd.DataFrame:
    """A row per filled place."""
    query, place = np.nonzero(rows >= 0)
    return pd.DataFrame({Columns.User: query, Columns.Item: rows[query, place], Columns.Rank: place + 1})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
