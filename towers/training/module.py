"""The LightningModule: one step of learning, and the validation that selects."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Float64
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from towers.data.batches import Batch, Questions
from towers.data.encoded import EncodedItems
from towers.data.split import Split
from towers.errors import TrainingError
from towers.evaluation.evaluate import evaluate
from towers.nets.item_tower import ItemFeatureTensors
from towers.nets.parts import in_parts
from towers.nets.two_tower import TwoTower
from towers.objectives.gathered import share_of_all
from towers.objectives.settings import ObjectiveSettings, Routing
from towers.training.asked_loss import AskedLoss, Task
from towers.training.averaging import AveragedTowers
from towers.training.compiling import compile_layers
from towers.training.faults import first_fault
from towers.training.flops import num_flops
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
        of_column: Float64[np.ndarray, " N"] | None = None,
    ) -> None:
        """of_column: as of `AskedLoss`."""
        super().__init__()
        self.towers = towers
        self.encoded = encoded
        self.items = ItemFeatureTensors(encoded)
        self.validation = split.validation
        self.asked_loss = AskedLoss(objective, towers.settings, split, of_column)
        self.objective = objective
        self.settings = trainer
        self.seed = seed
        self.lineage = lineage
        # Not the trainer's estimate: to ask for it makes the loader before the checkpoint is read, and
        # Lightning 2.6 then never tells that loader where to go on.
        self.num_batches = num_batches
        self.averaged = AveragedTowers(towers, trainer.ema_decay) if trainer.ema_decay else None
        self._step: tuple[Batch, int, Tensor]
        # Mean of an epoch's losses and how many; kept in checkpoints, as a resumed epoch goes on with it.
        self.register_buffer("epoch_loss", torch.zeros(2))
        self._learned = list(towers.parameters())
        self.num_asked = 0
        """Questions that this process has learned from."""

    @property
    def judged(self) -> TwoTower:
        """The towers that are validated, selected and exported."""
        return self.towers if self.averaged is None else self.averaged.towers

    def on_fit_start(self) -> None:
        """Compiles, now that the device is known."""
        if self.settings.compile:
            for pair in self.towers.pairs():
                compile_layers(pair.users.blocks, self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds dropout by epoch, step and rank, so that a resumed run draws what the unbroken one would."""
        self._seed(batch_idx)

    def _seed(self, batch_idx: int) -> None:
        key = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        drawn = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
        # torch.manual_seed asks every kind of device there could be: milliseconds, where a step may be a few.
        torch.default_generator.manual_seed(drawn)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index].manual_seed(drawn)
        self.asked_loss.seed(self.seed, self.current_epoch, batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Loss of the batch, scaled: the mean over the ranks is the loss of their batches joined."""
        loss, weight, num_asked = self.batch_loss(batch)
        self._step = batch, batch_idx, loss.detach()
        self.num_asked += num_asked
        loss = loss * share_of_all(weight)
        mean, num = self.get_buffer("epoch_loss")
        mean += (loss.detach() - mean) / num.add_(1.0)
        if self.trainer.progress_bar_callback is not None:
            self.log("loss", loss, prog_bar=True, logger=False, batch_size=1)
        return loss

    def batch_loss(self, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, ""], int]:
        """Loss of a batch's questions in nats, the weight of their targets, and how many were asked."""
        asked = self._questions(batch)
        tasks, rows, items, shown = self._shown(batch, asked)
        vectors = self.towers.item_vectors(items)
        query = self._queries(shown, asked, vectors)
        loss, weight = self.asked_loss(self.towers, tasks, query, vectors, rows)
        return loss, weight, len(asked.window)

    def _shown(
        self, batch: Batch, asked: Questions
    ) -> tuple[list[Task], Tensor | None, ItemFeatureTensors, Batch]:
        """What is asked, the rows it needs or None for all, those titles, and the batch with rows of them."""
        tasks = self.asked_loss.tasks(batch, asked)
        rows = self.asked_loss.rows_needed(batch, tasks)
        if rows is None:
            return tasks, None, self.items, batch
        own = torch.searchsorted(rows, batch.item_row.long())
        return tasks, rows, self.items.select(rows), replace(batch, item_row=own)

    def _questions(self, batch: Batch) -> Questions:
        """What is asked of a batch."""
        return batch.questions(self.objective.num_targets, openings=self.objective.num_openings > 0)

    def _queries(
        self, batch: Batch, asked: Questions, vectors: Float[Tensor, "N D"]
    ) -> Float[Tensor, "P *K D"]:
        """Vectors of a batch's questions, in their order."""
        if self.settings.micro_positions == 0:
            every: Tensor = self.towers(batch, vectors)
            return every.index_select(0, asked.position)
        # Each part has its own events as the catalogue: the gradient of the whole one is summed once, not in
        # every part.
        shown = vectors[batch.item_row.long()]

        def encode(part: tuple[Batch, Tensor]) -> Tensor:
            windows, events = part
            own = self._questions(windows)
            positions: Tensor = self.towers(windows, events)
            return positions.index_select(0, own.position)

        parts = batch.parts(self.settings.micro_positions)
        events = torch.split(shown, [len(part.item_row) for part in parts])
        own_rows = [
            replace(part, item_row=torch.arange(len(part.item_row), device=self.device)) for part in parts
        ]
        return torch.cat(in_parts(encode, list(zip(own_rows, events, strict=True)), self.device))

    def step_flops(self, batch: Batch) -> tuple[float, int]:
        """Operations of one training step on a batch, and the questions it asks.

        The towers' are counted as they run, the user tower's on the first part of the batch and by questions
        from there. The softmax, a kernel of its own, has three products of questions, titles or those that
        are drawn, and width: the scores and both gradients.
        """

        def run(encode: Callable[[], Tensor], *given: Tensor) -> int:
            inputs = [*self.towers.parameters(), *given]
            return num_flops(lambda: torch.autograd.grad(encode().sum(), inputs, allow_unused=True))

        micro = self.settings.micro_positions
        tasks, _, items, shown = self._shown(batch, self._questions(batch))
        part = shown.parts(micro)[0] if micro else shown
        num_asked, of_part = (len(self._questions(one).window) for one in (shown, part))
        with torch.no_grad():
            vectors = self.towers.item_vectors(items).requires_grad_()
        of_items = run(lambda: self.towers.item_vectors(items))
        # A copy: torch's counter cannot follow autograd.grad to a leaf that a module was given.
        of_users = run(lambda: self.towers(part, vectors.clone()), vectors) * num_asked / of_part
        drawn = tasks[0].drawn
        num_scored = self.asked_loss.num_items if drawn is None else drawn[0].negatives.row.shape[-1]
        scores = 2 * num_asked * num_scored * self.towers.settings.dim
        # Each interest has its own where all of them are scored; a routed target has one.
        if self.objective.routing is Routing.MAX:
            scores *= self.towers.settings.num_interests
        return of_items + of_users + 3 * scores, num_asked

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Cuts the gradient to the largest norm; raises TrainingError where it or the loss is not finite.

        Both are looked at here, once: it makes a GPU's queue run dry, and before the step the weights that
        made such a number are still there to find out where.
        """
        gradients = [p.grad for p in self._learned if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm + self._step[2]):
            raise self._not_finite(norm)
        torch.nn.utils.clip_grads_with_norm_(self._learned, self.settings.gradient_clip, norm)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """One step, and its part in the averaged weights and in streamed frequencies."""
        num_steps = self.global_step
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.asked_loss.frequency is not None:
            self.asked_loss.follow(self._questions(self._step[0]))
        if self.averaged is not None:
            self.averaged.update(num_steps)

    def on_train_epoch_end(self) -> None:
        """The mean loss; and a ranking of all titles for every validation question, the same on each rank."""
        self.log("train/loss", self.get_buffer("epoch_loss")[0].clone(), sync_dist=True)
        self.get_buffer("epoch_loss").zero_()
        if len(self.validation) == 0:
            return
        judged = evaluate(
            self.judged.exact(self.encoded),
            self.validation,
            num_items=len(self.encoded),
            ks=(10,),
            name="validation",
            show_progress=False,
        )
        self.train()
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
        """AdamW, decay on the weights of layers and tables; linear warm-up, then a cosine."""
        # The biases start where they should be, and what a moment adds is no weight of a layer: decay would
        # flatten them.
        kept = ("distance_bias", "age_bias", "knot")
        named = list(self.towers.named_parameters())
        decayed = [p for name, p in named if p.ndim >= 2 and not name.endswith(kept)]
        plain = [p for name, p in named if p.ndim < 2 or name.endswith(kept)]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.settings.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=self.settings.learning_rate,
            fused=True,
        )
        num_steps = self.settings.max_epochs * self.num_batches(self.trainer.world_size)
        warmup = max(1, round(self.settings.warmup_share * num_steps))

        def share(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
            final = self.settings.final_share
            return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _not_finite(self, norm: Tensor) -> TrainingError:
        """The error that names the batch, and where in its step the first such number came about."""
        batch, batch_idx, loss = self._step

        def again() -> Tensor:
            self._seed(batch_idx)
            with self.trainer.precision_plugin.train_step_context():
                return self.batch_loss(batch)[0]

        rank = f", rank {self.global_rank}" if self.trainer.world_size > 1 else ""
        return TrainingError(
            f"loss is {loss.item()} at epoch {self.current_epoch}, batch {batch_idx}{rank}, the norm of its "
            f"gradient {norm.item()}: {first_fault(self.towers, again)}; expected finite numbers: lower "
            "trainer.learning_rate, or look for extreme values in the numeric features; the checkpoints of "
            "the steps before stay"
        )
