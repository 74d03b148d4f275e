"""The LightningModule of a private training: each profile's gradient cut, their sum under noise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from towers.data.batches import Batch
from towers.data.encoded import EncodedItems
from towers.data.split import Split
from towers.errors import ConfigError, TrainingError
from towers.nets.two_tower import TwoTower
from towers.objectives.settings import ObjectiveKind, ObjectiveSettings
from towers.training.dp.mechanism import Mechanism
from towers.training.dp.noise import NoiseSource, secure_normal
from towers.training.dp.users import Lines, UsersByProfile
from towers.training.flops import num_flops
from towers.training.module import TwoTowerModule
from towers.training.settings import TrainerSettings

_MOST_TOGETHER = 64
_MOST_NUMBERS = 1 << 26
"""Of the gradients by the titles' vectors that are held at once."""


@dataclass(frozen=True, slots=True)
class ClippedSum:
    """What a step's profiles came to.

    gradients: the sum of all profiles' gradients, each cut to the largest norm, one tensor a weight. loss:
    (B,), of each profile. norm: (B,), of each gradient before it was cut. num_asked: questions of all.
    """

    gradients: list[Tensor]
    loss: Float[Tensor, " B"]
    norm: Float[Tensor, " B"]
    num_asked: int


class PrivateTowerModule(TwoTowerModule):
    """Trains towers by DP-SGD over profiles.

    gradient = ( sum_p g_p min(1, C / |g_p|) + σ C ξ ) / B,  g_p the gradient of profile p's loss by all
    weights together, ξ standard normal, B the expected number of profiles. The loss of a profile is the
    weighted mean over its own targets, as of a batch that holds it alone.

    The titles' vectors are computed once a step and read by all profiles. Each profile's gradient by them
    goes back through the item tower by itself, so that what is cut is its gradient by the weights: all of
    them, those of both towers.
    Source: Abadi et al. 2016, arXiv:1607.00133.
    """

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
        *,
        mechanism: Mechanism,
        noise: NoiseSource = secure_normal,
    ) -> None:
        super().__init__(towers, encoded, split, objective, trainer, seed, lineage, num_batches, of_column)
        self.mechanism = mechanism
        self.noise = noise
        self._of_items = _weights(member.items for member in towers.pairs())
        self._of_users = _weights(member.users for member in towers.pairs())
        self._learned = [*self._of_items, *self._of_users]

    def on_fit_start(self) -> None:
        """Raises ConfigError where several processes train."""
        if self.trainer.world_size > 1:
            raise ConfigError(
                f"trainer.dp: {self.trainer.world_size} processes; expected one, which draws and adds noise"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """A function of the weights whose gradient is the noisy one of the step."""
        found = self.clipped_sum(batch, batch_idx)
        if len(batch):
            self.num_asked += found.num_asked
            mean, num = self.get_buffer("epoch_loss")
            mean += (found.loss.mean() - mean) / num.add_(1.0)
        noisy = self.noisy_mean(found.gradients)
        # Of what is linear in the weights autograd gives back the factors, and the trainer does the rest.
        return torch.stack(
            [(weight * one).sum() for weight, one in zip(self._learned, noisy, strict=True)]
        ).sum()

    def clipped_sum(self, batch: Batch, batch_idx: int) -> ClippedSum:
        """The sum of the gradients of a batch's profiles, a window each, every one cut to C by itself.

        Raises TrainingError where a gradient is not finite: there is nothing to cut it to.
        """
        total = [torch.zeros_like(weight) for weight in self._learned]
        losses, norms, num_asked = [], [], 0
        for gradients, loss, asked in self._of_profiles(batch, batch_idx):
            norm = torch.nn.utils.get_total_norm(gradients)
            share = (self.mechanism.max_grad_norm / norm).clamp(max=1.0)
            for one, gradient in zip(total, gradients, strict=True):
                one.addcmul_(gradient, share)
            losses.append(loss)
            norms.append(norm)
            num_asked += asked
        none = torch.zeros(0, device=self.device)
        loss, norm = (torch.stack(each) if each else none for each in (losses, norms))
        if not torch.isfinite(norm).all():
            raise TrainingError(
                f"a gradient is not finite at epoch {self.current_epoch}, batch {batch_idx}; expected finite "
                "numbers: lower trainer.learning_rate, or look for extreme values in the numeric features"
            )
        return ClippedSum(total, loss, norm, num_asked)

    def noisy_mean(self, total: list[Tensor]) -> list[Tensor]:
        """The sum under noise, over the expected number of profiles; how many there were changes neither."""
        made = self.mechanism
        drawn = self.noise(sum(one.numel() for one in total)) * (made.noise_multiplier * made.max_grad_norm)
        noise = torch.split(drawn, [one.numel() for one in total])
        return [
            # The sum in float64, so that one rounding is all that is lost of the noise.
            ((one.double() + part.to(one.device).view_as(one)) / made.expected_batch_size).to(one.dtype)
            for one, part in zip(total, noise, strict=True)
        ]

    def _of_profiles(self, batch: Batch, batch_idx: int) -> Iterator[tuple[list[Tensor], Tensor, int]]:
        """Of each profile: its gradient, in the order of the weights, its loss, and how much it asks."""
        if len(batch) == 0:
            return
        rows = self._rows(batch, batch_idx)
        items = self.items if rows is None else self.items.select(rows)
        vectors = self.towers.item_vectors(items)
        # A copy, as in `step_flops` of other trainings: torch's counter cannot follow a gradient to a leaf.
        read = vectors.detach().requires_grad_().clone()
        # Of like length, so that little is padded; in any order the sum is the same.
        windows = sorted(batch.parts(0), key=lambda window: window.longest)
        together = max(1, min(_MOST_TOGETHER, _MOST_NUMBERS // read.numel()))
        for start in range(0, len(windows), together):
            own = windows[start : start + together]
            lines = Lines.of([self._shown_rows(window, rows) for window in own])
            users = UsersByProfile(self.towers, lines, read)
            of_query = torch.zeros_like(users.query)
            found = []
            for line, window in enumerate(own):
                query = users.query[line].detach().requires_grad_()
                loss, num_asked = self._loss_of(window, batch_idx, query, read, rows)
                of_query[line], of_vectors = torch.autograd.grad(loss, [query, read])
                found.append((of_vectors, loss.detach(), num_asked))
            of_users, of_events = users.gradients(of_query)
            for line, (of_vectors, loss, num_asked) in enumerate(found):
                whole = of_vectors.index_add(0, lines.event_row[line], of_events[line])
                of_items = torch.autograd.grad(
                    vectors,
                    self._of_items,
                    whole.to(vectors.dtype),
                    retain_graph=True,
                    materialize_grads=True,
                )
                yield [*of_items, *(each[line] for each in of_users)], loss, num_asked

    def _loss_of(
        self, window: Batch, batch_idx: int, query: Tensor, vectors: Tensor, rows: Tensor | None
    ) -> tuple[Float[Tensor, ""], int]:
        """The loss of one profile, of the vectors of its positions, and how many questions it asks."""
        asked = self._questions(window)
        # All profiles see the same negatives of a step: a seed that anybody may know draws them.
        self.asked_loss.seed(self.seed, self.current_epoch, batch_idx)
        tasks = self.asked_loss.tasks(window, asked)
        loss, _ = self.asked_loss(self.towers, tasks, query.index_select(0, asked.position), vectors, rows)
        return loss, len(asked.window)

    def _shown_rows(self, window: Batch, rows: Tensor | None) -> Batch:
        if rows is None:
            return window
        return replace(window, item_row=torch.searchsorted(rows, window.item_row.long()))

    def _rows(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The titles that any of the profiles needs, or None for all: what is computed, not what is read."""
        if self.objective.kind is ObjectiveKind.FULL_SOFTMAX or not self.objective.shared:
            return None
        self.asked_loss.seed(self.seed, self.current_epoch, batch_idx)
        return self.asked_loss.rows_needed(batch, self.asked_loss.tasks(batch, self._questions(batch)))

    def step_flops(self, batch: Batch) -> tuple[float, int]:
        """Operations of one training step on a batch, and the questions it asks, counted as they run."""
        return float(num_flops(lambda: list(self._of_profiles(batch, 0)))), len(self._questions(batch).window)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Nothing: every profile's gradient was cut by itself."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes down the noise beside what the run learns from; its steps are the trainer's."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["noise_multiplier"] = self.mechanism.noise_multiplier

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises TrainingError where a checkpoint is of other data or settings, or of other noise."""
        super().on_load_checkpoint(checkpoint)
        found = checkpoint.get("noise_multiplier")
        if found != self.mechanism.noise_multiplier:
            raise TrainingError(
                f"the last checkpoint has steps with noise_multiplier={found}, now it would be "
                f"{self.mechanism.noise_multiplier}; expected the same: trainer.resume=false trains anew"
            )


def _weights(towers: Iterator[nn.Module]) -> list[nn.Parameter]:
    return [weight for tower in towers for weight in tower.parameters()]
