"""The loss of a batch's questions against the titles that training knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from towers.data.batches import NO_TARGET, Batch, Questions
from towers.data.split import Split
from towers.errors import ConfigError
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.objectives.gathered import gathered
from towers.objectives.item_frequency import ItemFrequency
from towers.objectives.objective import Drawn, Sampling, drawn_negatives, objective_loss
from towers.objectives.settings import Frequencies, ObjectiveKind, ObjectiveSettings
from towers.objectives.softmax import falling_weights

_NUM_HASHES, _MOST_BUCKETS = 4, 1 << 22
"""Of streamed frequencies: a bucket for each title in each of four arrays, 80 to 160 bytes a title in all."""


@dataclass(frozen=True, slots=True)
class Task:
    """Questions of a batch and what each is to be answered with; rows are the catalogue's.

    at: int64 (P,), their lines among the batch's questions. target_row: int64 (P, T), NO_TARGET where there
    is none; share: float32 (P, T), the weights of the targets. drawn: the negatives of each member of the
    towers; None of a loss that takes all. history_row: int64 (P, L), what each question's profile has
    watched, NO_TARGET beyond its end; None where nobody asks.
    """

    at: Int64[Tensor, " P"]
    target_row: Int64[Tensor, "P T"]
    share: Float[Tensor, "P T"]
    drawn: list[Drawn] | None
    history_row: Int64[Tensor, "P L"] | None


class AskedLoss(nn.Module):
    """Loss of questions, by the objective of the settings; its buffers follow the model to its device.

    Only titles with a train event are negatives. One without would only ever be pushed away, and cold titles
    would come last wherever they are; besides, training would know of titles that came later.
    """

    def __init__(
        self,
        objective: ObjectiveSettings,
        model: ModelSettings,
        split: Split,
        of_column: Float64[np.ndarray, " N"] | None = None,
    ) -> None:
        """of_column: the probability of each title in a draw by strata of a column; of no other draws."""
        super().__init__()
        self.objective = objective
        self.of_members = objectives_of_members(objective, model)
        self.register_buffer("seen_row", torch.from_numpy(np.flatnonzero(split.seen)), persistent=False)
        self.register_buffer("place", torch.from_numpy(np.cumsum(split.seen) - 1), persistent=False)
        count = split.num_watches[split.seen].astype(np.float32)
        self.register_buffer("count", torch.from_numpy(count), persistent=False)
        drawn = None if of_column is None else torch.from_numpy(of_column[split.seen])
        self.of_column: Tensor | None
        self.register_buffer("of_column", drawn, persistent=False)
        self.generator = torch.Generator()
        self.frequency: ItemFrequency | None = None
        if objective.frequencies is Frequencies.STREAMED:
            buckets = 1 << max(1, (self.num_items - 1).bit_length())
            self.frequency = ItemFrequency(
                num_buckets=min(buckets, _MOST_BUCKETS), num_hashes=_NUM_HASHES, rate=objective.stream_rate
            )
        self.num_interests = model.num_interests

    @property
    def num_items(self) -> int:
        """Titles that a question is asked against."""
        return len(self.get_buffer("seen_row"))

    def seed(self, *key: int) -> None:
        """Sets what negatives are drawn by, the same on every rank."""
        drawn = np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1)
        self.generator.manual_seed(int(drawn))

    def tasks(self, batch: Batch, asked: Questions) -> list[Task]:
        """What the questions of a batch ask, each kind by itself, and the negatives drawn for it.

        A whole history's opening is asked apart, so that all other questions keep their few targets. What a
        profile that has watched nothing is asked has its first `num_openings` events as targets, all alike:
        whoever is new may go on with any of them, and the very first ones are too few to learn a prior from;
        with 0 it is not asked.
        """
        sampled = self.objective.kind is not ObjectiveKind.FULL_SOFTMAX
        watched, pool = None, None
        if sampled:
            pool = self._pool(asked)
            if self.objective.mask_history or self.objective.hard.num:
                watched = _watched(batch)[asked.window]
        known, new = ((asked.place > 0).nonzero().flatten(), (asked.place == 0).nonzero().flatten())
        next_row, next_weight = asked.target_row[known], asked.target_weight[known]
        questions = [(known, next_row, falling_weights(next_row, next_weight))]
        if self.objective.num_openings:
            opening, weight = batch.openings(self.objective.num_openings)
            count = (opening >= 0).sum(1, keepdim=True).clamp(min=1)
            questions.append((new, opening, weight / count))
        return [
            Task(
                at,
                row,
                share,
                [self._drawn(row, pool) for _ in self.of_members] if pool is not None else None,
                None if watched is None else watched[at],
            )
            for at, row, share in questions
        ]

    def follow(self, asked: Questions) -> None:
        """Takes what a step of all ranks has asked for into the streamed frequencies, if there are any.

        After the step: what a batch is corrected by knows nothing of the batch. It is state of the training,
        saved and gone on with; all ranks have the same.
        """
        if self.frequency is not None:
            self.frequency.update(self._pool(asked))

    def _pool(self, asked: Questions) -> Int64[Tensor, " B"]:
        """The first targets of the questions of all ranks, in their order, by their places."""
        first = asked.target_row[:, 0]
        return gathered(self._places(first[first >= 0]))

    def _drawn(self, target_row: Int64[Tensor, "P T"], pool: Int64[Tensor, " B"]) -> Drawn:
        """Negatives of a member, among the titles that training knows, by their rows in the catalogue."""
        drawn = drawn_negatives(
            self._places(target_row),
            self.objective,
            Sampling(
                self.generator,
                self.get_buffer("count"),
                self.of_column,
                None if self.frequency is None else self.frequency.probability,
            ),
            pool_row=pool,
            num_interests=self.num_interests,
        )
        return drawn.at(lambda place: self.get_buffer("seen_row")[place])

    def rows_needed(self, batch: Batch, tasks: Sequence[Task]) -> Int64[Tensor, " n"] | None:
        """The titles that a batch shows, asks for or draws, ascending; None for all of the catalogue.

        A loss over a sample needs no vector of the other titles, which may be nearly all of a large
        catalogue. All where the loss is over all of them, or searches them for hard negatives, and where
        those needed may be half of them or more: nothing would be won.
        """
        if self.objective.kind is ObjectiveKind.FULL_SOFTMAX or self.objective.hard.num:
            return None
        named = [batch.item_row.long()]
        for task in tasks:
            named += [drawn.negatives.row.flatten() for drawn in task.drawn or ()]
        if 2 * sum(map(len, named)) >= len(self.get_buffer("place")):
            return None
        needed: Tensor = torch.unique(torch.cat(named))
        return needed

    def forward(
        self,
        towers: TwoTower,
        tasks: Sequence[Task],
        query: Float[Tensor, "P *K D"],
        vectors: Float[Tensor, "N D"],
        rows: Int64[Tensor, " N"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The mean over the towers' members of their losses, in nats, and the weight of all targets together.

        query: of the questions. vectors: of all titles, or of `rows` alone, as `rows_needed` gives them. Each
        loss is the mean over the questions' targets, weighed by their place and by their events' weights.
        Where nothing has a weight the loss is 0.
        """
        seen = self.get_buffer("seen_row")

        def place(row: Tensor) -> Tensor:
            if rows is None:
                return self._places(row)
            return torch.where(row < 0, NO_TARGET, torch.searchsorted(rows, row))

        # All of them are as they are: to select would copy them, and their gradients.
        whole = rows is not None or len(seen) == len(vectors)
        item = vectors if whole else vectors.index_select(0, seen)
        if query.is_cuda and torch.is_autocast_enabled(query.device.type):
            # What autocast would do to the scores' product, done to what it is made of: the kernel of the
            # full softmax multiplies these as they are.
            half = torch.get_autocast_dtype(query.device.type)
            query, item = query.to(half), item.to(half)
        total, weight = vectors.new_zeros(()), vectors.new_zeros(())
        for task in tasks:
            no_negatives: list[Drawn | None] = [None] * len(self.of_members)
            of_members = zip(
                towers.parts(query.index_select(0, task.at)),
                towers.parts(item),
                self.of_members,
                task.drawn or no_negatives,
                strict=True,
            )
            losses = [
                objective_loss(
                    of_member,
                    items,
                    place(task.target_row),
                    task.share,
                    objective,
                    drawn=None if drawn is None else drawn.at(place),
                    history_row=None if task.history_row is None else place(task.history_row),
                )
                for of_member, items, objective, drawn in of_members
            ]
            of_all = task.share.sum()
            total, weight = total + torch.stack(losses).mean() * of_all, weight + of_all
        return total / weight.clamp(min=torch.finfo(weight.dtype).tiny), weight

    def _places(self, row: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
        """Rows of titles among those that training knows."""
        return torch.where(row < 0, NO_TARGET, self.get_buffer("place")[row])


def _watched(batch: Batch) -> Int64[Tensor, "B L"]:
    """What each window shows, a window a line; NO_TARGET beyond its end."""
    positions = batch.positions()
    lines = positions.place.new_full((len(batch), batch.longest + 1), NO_TARGET)
    lines[positions.window, positions.place] = torch.where(positions.seen, positions.item_row, NO_TARGET)
    return lines


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
