"""Training steps of RePlay's TwoTower with full cross-entropy; run by its own interpreter, prints JSON."""

import json
import resource
import sys
import time
import warnings
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # of its own environment, as all of RePlay
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType  # type: ignore[import-not-found]
from replay.data.nn import (  # type: ignore[import-not-found]
    ParquetModule,
    TensorFeatureInfo,
    TensorFeatureSource,
    TensorSchema,
)
from replay.nn.lightning.optimizer import OptimizerFactory  # type: ignore[import-not-found]
from replay.nn.sequential.twotower import FeaturesReader, TwoTower  # type: ignore[import-not-found]
from replay.nn.transform.template import make_default_twotower_transforms  # type: ignore[import-not-found]


def main(path: str, dim: int, max_history: int, batch_profiles: int, num_warm: int, num_timed: int) -> None:
    """Prints the seconds of the timed steps and their positions with an event before and one after them."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    log = np.load(path)
    num_items = int(log["num_items"])
    schema = TensorSchema(
        TensorFeatureInfo(
            name="item_id",
            feature_type=FeatureType.CATEGORICAL,
            is_seq=True,
            feature_hint=FeatureHint.ITEM_ID,
            feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
            cardinality=num_items,
            padding_value=num_items,
            embedding_dim=dim,
        )
    )
    with TemporaryDirectory() as name:
        items, windows = Path(name, "items.parquet"), Path(name, "windows.parquet")
        pd.DataFrame({"item_id": np.arange(num_items)}).to_parquet(items)
        histories = np.split(log["item_row"], log["offset"][1:-1])
        pd.DataFrame({"item_id": [history.tolist() for history in histories]}).to_parquet(windows)
        module = ParquetModule(
            batch_size=batch_profiles,
            metadata={"train": {"item_id": {"shape": max_history + 1, "padding": num_items}}},
            transforms=make_default_twotower_transforms(schema),
            config={"train": {"generator": torch.Generator().manual_seed(0)}},
            train_path=str(windows),
        )
        module.setup("fit")
        model = TwoTower.from_params(
            schema=schema,
            item_features_reader=FeaturesReader(schema, metadata={"item_id": {}}, path=str(items)),
            embedding_dim=dim,
            num_heads=1,
            num_blocks=1,
            max_sequence_length=max_history,
            dropout=0.2,
        ).train()
        optimizer = OptimizerFactory().create(model.parameters())
        batches = (batch for _ in cycle([0]) for batch in module.train_dataloader())
        positions, begun, loss = 0, 0.0, torch.zeros(())
        for step in range(num_warm + num_timed):
            if step == num_warm:
                positions, begun = 0, time.perf_counter()
            batch = module.compiled_transforms["train"](next(batches))
            positions += int((batch["padding_mask"] & batch["target_padding_mask"][..., 0]).sum())
            loss = model(
                feature_tensors=batch["feature_tensors"],
                padding_mask=batch["padding_mask"],
                positive_labels=batch["positive_labels"],
                negative_labels=None,
                target_padding_mask=batch["target_padding_mask"],
            )["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = time.perf_counter() - begun
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "positions": positions, "loss": loss.item(), "peak_mib": peak_mib}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
