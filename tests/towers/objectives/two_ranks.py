"""What one of two processes does: its part of a batch, its loss, its gradients as training averages them."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from towers.objectives.gathered import gathered, gathered_sizes, share_of_all
from towers.objectives.log_q import Draws
from towers.objectives.negatives import distinct
from towers.objectives.sampled_softmax import sampled_softmax


@dataclass(frozen=True)
class Part:
    """Some positions: what is known of each profile and of the item that it chose, its row, its weight."""

    profile: Tensor
    chosen: Tensor
    row: Tensor
    weight: Tensor


def joined() -> Part:
    """Seven positions; two chose the same item."""
    generator = torch.Generator().manual_seed(0)
    row = torch.tensor([4, 0, 2, 4, 1, 5, 3])
    catalogue = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    profile = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    return Part(profile, catalogue[row], row, torch.rand(7, generator=generator, dtype=torch.float64) + 0.2)


def towers() -> nn.ModuleList:
    torch.manual_seed(1)
    return nn.ModuleList([nn.Linear(5, 3), nn.Linear(4, 3)]).double()


def loss_of(part: Part, nets: nn.ModuleList) -> Tensor:
    """In-batch softmax over the items of all ranks, of which each embeds only those of its own positions."""
    item = gathered(nets[1](part.chosen))
    row = gathered(part.row)
    # The catalogue of this batch: an item's vector is that of the first position that chose it.
    distinct_row, place = row.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    first = torch.stack([(row == each).nonzero()[0, 0] for each in distinct_row])
    start = sum(gathered_sizes(part.row)[: dist.get_rank()]) if dist.is_initialized() else 0
    draws = [Draws(torch.full((len(distinct_row),), 1 / 6, dtype=torch.float64), len(row) - 1)]
    return sampled_softmax(
        nets[0](part.profile),
        item[first],
        place[start : start + len(part.row)],
        part.weight,
        distinct(place, draws),
        temperature=0.3,
    )


def learned(part: Part) -> list[Tensor]:
    """The loss and every gradient, averaged over ranks as DistributedDataParallel does."""
    nets = towers()
    loss = loss_of(part, nets) * share_of_all(part.weight)
    loss.backward()  # type: ignore[no-untyped-call]
    found = [loss.detach(), *(parameter.grad for parameter in nets.parameters())]
    kept = [each for each in found if each is not None]
    if dist.is_initialized():
        for each in kept:
            dist.all_reduce(each)
            each /= dist.get_world_size()
    return kept


def run(rank: int, cases: list[list[int]], folder: Path) -> None:
    """One process of two: writes down what it learned from its part of the joined batch, for each cut."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    whole = joined()
    for case, sizes in enumerate(cases):
        mine = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        part = Part(whole.profile[mine], whole.chosen[mine], whole.row[mine], whole.weight[mine])
        torch.save(learned(part), folder / f"case{case}_rank{rank}.pt")
    dist.destroy_process_group()
