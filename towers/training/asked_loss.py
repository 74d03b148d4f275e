"""The loss of a batch's questions against the titles that training knows."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.data.batches import NO_TARGET, Batch, Questions
from towers.data.split import Split
from towers.errors import ConfigError
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.objectives.gathered import gathered
from towers.objectives.objective import Sampling, objective_loss
from towers.objectives.settings import ObjectiveKind, ObjectiveSettings
from towers.objectives.softmax import falling_weights


class AskedLoss(nn.Module):
    """Loss of questions, by the objective of the settings; its buffers follow the model to its device.

    Only titles with a train event are negatives. One without would only ever be pushed away, and cold titles
    would come last wherever they are; besides, training would know of titles that came later.
    """

    def __init__(self, objective: ObjectiveSettings, model: ModelSettings, split: Split) -> None:
        super().__init__()
        self.objective = objective
        self.of_members = objectives_of_members(objective, model)
        self.register_buffer("seen_row", torch.from_numpy(np.flatnonzero(split.seen)), persistent=False)
        self.register_buffer("place", torch.from_numpy(np.cumsum(split.seen) - 1), persistent=False)
        count = split.num_watches[split.seen].astype(np.float32)
        self.register_buffer("count", torch.from_numpy(count), persistent=False)
        self.generator = torch.Generator()

    @property
    def num_items(self) -> int:
        """Titles that a question is asked against."""
        return len(self.get_buffer("seen_row"))

    def seed(self, *key: int) -> None:
        """Sets what negatives are drawn by, the same on every rank."""
        drawn = np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1)
        self.generator.manual_seed(int(drawn))

    def forward(
        self,
        towers: TwoTower,
        batch: Batch,
        asked: Questions,
        query: Float[Tensor, "P *K D"],
        vectors: Float[Tensor, "N D"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The mean over the towers' members of their losses, in nats, and the weight of all targets together.

        query: of the questions. vectors: of all titles. Each loss is the mean over the questions' targets,
        weighed by their place and by their events' weights. What a profile that has watched nothing is asked
        has its first `num_openings` events as targets, all alike: whoever is new may go on with any of them,
        and the very first ones are too few to learn a prior from; with 0 it is not asked.
        Where nothing has a weight the loss is 0.
        """
        row = self.get_buffer("seen_row")
        # All of them are as they are: to select would copy them, and their gradients.
        seen = vectors if len(row) == len(vectors) else vectors.index_select(0, row)
        if query.is_cuda and torch.is_autocast_enabled(query.device.type):
            # What autocast would do to the scores' product, done to what it is made of: the kernel of the
            # full softmax multiplies these as they are.
            half = torch.get_autocast_dtype(query.device.type)
            query, seen = query.to(half), seen.to(half)
        sampling, pool, watched = None, None, None
        if self.objective.kind is not ObjectiveKind.FULL_SOFTMAX:
            sampling = Sampling(self.generator, self.get_buffer("count"))
            pool = gathered(self._places(asked.target_row[:, 0][asked.target_row[:, 0] >= 0]))
            watched = self._watched(batch)[asked.window]
        # A whole history's opening is asked apart, so that all other questions keep their few targets.
        known, new = ((asked.place > 0).nonzero().flatten(), (asked.place == 0).nonzero().flatten())
        next_row, next_weight = asked.target_row[known], asked.target_weight[known]
        questions = [(known, next_row, falling_weights(next_row, next_weight))]
        if self.objective.num_openings:
            opening, weight = batch.openings(self.objective.num_openings)
            count = (opening >= 0).sum(1, keepdim=True).clamp(min=1)
            questions.append((new, opening, weight / count))
        total, whole = vectors.new_zeros(()), vectors.new_zeros(())
        for at, row, share in questions:
            losses = [
                objective_loss(
                    of_member,
                    items,
                    self._places(row),
                    share,
                    objective,
                    sampling=sampling,
                    pool_row=pool,
                    history_row=None if watched is None else watched[at],
                )
                for of_member, items, objective in zip(
                    towers.parts(query.index_select(0, at)), towers.parts(seen), self.of_members, strict=True
                )
            ]
            of_all = share.sum()
            total, whole = total + torch.stack(losses).mean() * of_all, whole + of_all
        return total / whole.clamp(min=torch.finfo(whole.dtype).tiny), whole

    def _places(self, row: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
        """Rows of titles among those that training knows."""
        return torch.where(row < 0, NO_TARGET, self.get_buffer("place")[row])

    def _watched(self, batch: Batch) -> Int64[Tensor, "B L"]:
        """What each window shows, a window a line; NO_TARGET beyond its end."""
        positions = batch.positions()
        lines = positions.place.new_full((len(batch), batch.longest + 1), NO_TARGET)
        lines[positions.window, positions.place] = torch.where(positions.seen, positions.item_row, NO_TARGET)
        return self._places(lines)


def objectives_of_members(objective: ObjectiveSettings, model: ModelSettings) -> list[ObjectiveSettings]:
    """What each member of the towers learns by.

    A prefix of vectors that stand side by side is the first member's, cut short, or that of the first members
    as they are: only the first learns to be cut, and it learns to be whole too. Raises ConfigError on a
    prefix that is neither, or is longer than the vectors.
    """
    width = model.member_dim
    for dim in objective.matryoshka:
        if dim > model.dim or (dim > width and dim % width):
            raise ConfigError(
                f"objective.matryoshka: {dim} of vectors of {model.dim} dimensions; expected at most "
                + (f"{width}, or whole members of {width}" if model.num_members > 1 else f"{width}")
            )
    whole = replace(objective, matryoshka=[])
    shorter = [dim for dim in objective.matryoshka if dim < width]
    first = replace(objective, matryoshka=[*shorter, width]) if shorter else whole
    return [first, *[whole] * (model.num_members - 1)]
