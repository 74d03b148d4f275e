"""The LightningModule: one step of learning, and the validation that selects."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from towers.data.batches import NO_TARGET, Batch
from towers.data.encoded import EncodedItems
from towers.data.split import Split
from towers.errors import TrainingError
from towers.evaluation.evaluate import evaluate
from towers.evaluation.exact import ExactRecommender
from towers.nets.item_tower import ItemFeatureTensors
from towers.nets.two_tower import TwoTower
from towers.objectives.softmax import ObjectiveSettings, falling_weights, full_softmax
from towers.training.settings import TrainerSettings

SELECTION_METRIC = "validation/ndcg@10"


class TwoTowerModule(pl.LightningModule):
    """Trains a TwoTower on every position of every window, and ranks the whole catalogue to select."""

    def __init__(
        self,
        towers: TwoTower,
        encoded: EncodedItems,
        split: Split,
        objective: ObjectiveSettings,
        trainer: TrainerSettings,
        seed: int,
        lineage: str,
        num_batches: Callable[[int], int],
    ) -> None:
        super().__init__()
        self.towers = towers
        self.encoded = encoded
        self.items = ItemFeatureTensors(encoded)
        self.validation = split.validation
        # A title without a train event is no negative: it would only ever be pushed away, and cold titles
        # would come last wherever they are; besides, training would know of titles that came later.
        self.register_buffer("seen_row", torch.from_numpy(np.flatnonzero(split.seen)), persistent=False)
        self.register_buffer("place", torch.from_numpy(np.cumsum(split.seen) - 1), persistent=False)
        self.objective = objective
        self.settings = trainer
        self.seed = seed
        self.lineage = lineage
        # Not the trainer's estimate: to ask for it makes the loader before the checkpoint is read, and
        # Lightning 2.6 then never tells that loader where to go on.
        self.num_batches = num_batches

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds dropout by epoch, step and rank, so that a resumed run draws what the unbroken one would."""
        key = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Softmax loss of the batch's questions against all titles with a train event, in nats.

        The mean over the questions' targets, weighed by their place and by their events' weights.
        """
        vectors = self.towers.items(self.items)
        asked = batch.questions(self.objective.num_targets)
        weight = falling_weights(asked.target_row, asked.target_weight)
        loss = full_softmax(
            self.towers(batch, vectors)[asked.window, asked.place],
            vectors[self.get_buffer("seen_row")],
            torch.where(asked.target_row < 0, NO_TARGET, self.get_buffer("place")[asked.target_row]),
            weight,
            temperature=self.objective.temperature,
        )
        if not torch.isfinite(loss):
            raise TrainingError(
                f"loss is {loss.item()} at epoch {self.current_epoch}, batch {batch_idx}; expected a finite "
                "number: lower trainer.learning_rate, or look for extreme values in the numeric features"
            )
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=1)
        self.log(
            "train/loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(asked.window)
        )
        return loss * self._share(weight)

    def on_train_epoch_end(self) -> None:
        """Ranks the whole catalogue for every validation question; the same on every rank."""
        if len(self.validation) == 0:
            return
        vectors = self.towers.embed(self.encoded)
        item = torch.from_numpy(vectors).to(self.device)
        exact = ExactRecommender(lambda queries: self.towers.encode(queries, item), vectors)
        judged = evaluate(
            exact, self.validation, num_items=len(vectors), ks=(10,), name="validation", show_progress=False
        )
        self.towers.train()
        # Every rank has the same value; their mean is that value.
        self.log(SELECTION_METRIC, float(judged.per_query("ndcg@10").mean()), prog_bar=True, sync_dist=True)
        self.log("validation/recall@10", float(judged.per_query("recall@10").mean()), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes down what the run learns from and under which settings."""
        checkpoint["lineage"] = self.lineage

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises TrainingError where a checkpoint is of other data or settings: its rows are other titles."""
        if checkpoint.get("lineage") != self.lineage:
            raise TrainingError(
                "the last checkpoint was trained on other data, or under other settings; expected the same: "
                "say trainer.resume=false to train anew, or name another artifacts folder"
            )

    def configure_optimizers(self) -> Any:
        """AdamW, decay on the weights of layers and tables; linear warm-up, then a cosine to zero."""
        # The biases by distance start where they should be; decay would flatten them.
        decayed = [
            p for name, p in self.towers.named_parameters() if p.ndim >= 2 and "distance_bias" not in name
        ]
        plain = [p for name, p in self.towers.named_parameters() if p.ndim < 2 or "distance_bias" in name]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.settings.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=self.settings.learning_rate,
        )
        num_steps = self.settings.max_epochs * self.num_batches(self.trainer.world_size)
        warmup = max(1, round(self.settings.warmup_share * num_steps))

        def share(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
            return 0.5 * (1.0 + math.cos(math.pi * progress))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _share(self, weight: Tensor) -> Tensor | float:
        """Own weight over the mean of all ranks, so that a target weighs the same wherever it is."""
        if self.trainer.world_size == 1:
            return 1.0
        total = weight.sum()
        own = total.clone()
        dist.all_reduce(total)
        return own * self.trainer.world_size / total
