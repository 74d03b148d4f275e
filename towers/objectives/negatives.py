"""Negatives: which items are treated as not chosen, and how many items of the catalogue each stands for.

A sampled softmax replaces the sum over the catalogue by a sum over a sample, sum_j exp(s_j) ~ sum_j w_j
exp(s_j). That is unbiased where w_j is the number of times that j was counted over the number expected:
Horvitz and Thompson 1952, doi:10.1080/01621459.1952.10483446. The logQ correction is this log w_j, added to
the score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from towers.objectives.log_q import Draws, log_expected_count, log_inclusion


@dataclass(frozen=True, slots=True)
class Negatives:
    """M negatives that all positions share, or M for each of P positions.

    row: int64 (M,), distinct, or (P, M), which may repeat. log_weight: of the same shape, added to a score
    that the temperature has divided already; 0 where there is nothing to correct.
    """

    row: Int64[Tensor, "*P M"]
    log_weight: Float[Tensor, "*P M"]


def draw(probability: Float[Tensor, " N"], shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Rows drawn independently with these probabilities, int64 of the given shape; any number of items.

    By the inverse of the distribution in float64, for catalogues beyond the 2^24 of torch.multinomial.
    """
    below = probability.double().cumsum(0)
    level = torch.rand(*shape, generator=generator, dtype=torch.float64, device=generator.device)
    # The last sum is 1 only up to rounding: divided by, no level lies beyond it, nor on an item of
    # probability 0.
    return torch.searchsorted(below / below[-1], level.to(below.device), right=True)


def draw_uniform(num_items: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Rows drawn independently, every item alike; int64 of the given shape."""
    return torch.randint(num_items, tuple(shape), generator=generator, device=generator.device)


def popularity(count: Float[Tensor, " N"], power: float) -> Float64[Tensor, " N"]:
    """Probabilities in proportion to count^power; 0 is uniform over what was counted, 1 is popularity itself.

    3/4 is the power of word2vec: Mikolov et al. 2013, arXiv:1310.4546.
    """
    raised = torch.where(count > 0, count.double() ** power, 0.0)
    return raised / raised.sum()


def popularity_strata(count: Float[Tensor, " N"], num_strata: int) -> Int64[Tensor, " N"]:
    """The stratum of each item, from 0: what is counted about as often.

    Items from the most to the least counted are cut where another 1 / num_strata of all counts is reached;
    one that reaches over several is alone in the first of them, and the others stay empty.
    """
    order = count.argsort(descending=True, stable=True)
    before = count[order].double().cumsum(0) - count[order].double()
    place = (before / count.double().sum() * num_strata).long().clamp(max=num_strata - 1)
    return torch.empty_like(place).scatter_(0, order, place)


def stratified(row: Int64[Tensor, " V"], stratum: Int64[Tensor, " V"], power: float) -> Float64[Tensor, " N"]:
    """Probabilities where a stratum is drawn by its size to a power, and then any item of it.

    q_i = sum_g S_g m_ig / n_g,  n_g = sum_i m_ig,  S_g = n_g^power / sum_h n_h^power,  m_ig = 1 / (strata
    that i is in) of each of them. A power of 0 draws all strata alike, one of 1 every item alike, whatever
    their strata. An item of one stratum has S_g / n_g. Strata that stay empty are not drawn.

    row, stratum: which items are in which strata, each pair once; every item is in one at least.
    """
    part = 1.0 / torch.bincount(row)[row].double()
    size = torch.bincount(stratum, part)
    share = torch.where(size > 0, size**power, 0.0)
    each = share / share.sum() / size
    return torch.bincount(row, part * each[stratum])


def distinct(row: Int64[Tensor, " n"], draws: Sequence[Draws]) -> Negatives:
    """Each drawn item once, weighted by 1 / P(it is drawn at all); `row` is what all the `draws` gave.

    An item popular enough to be in every batch has a weight of 1 and adds no noise, as it does where it is
    `counted`; and every column of the scores is another item.
    """
    distinct_row = torch.unique(row)
    return Negatives(distinct_row, -log_inclusion(draws, distinct_row))


def counted(row: Int64[Tensor, " n"], draws: Sequence[Draws]) -> Negatives:
    """Each drawn item once, weighted by how often it was drawn over how often that is expected."""
    distinct_row, count = torch.unique(row, return_counts=True)
    return Negatives(distinct_row, count.double().log() - log_expected_count(draws, distinct_row))


def uncorrected(row: Int64[Tensor, "..."]) -> Negatives:
    """The sample as it is: what is popular is pushed away as often as it is drawn.

    For comparison: popular items are punished for it. Shared rows, (n,), become distinct, of weight
    log(count).
    """
    if row.ndim == 2:
        return Negatives(row, torch.zeros(row.shape, dtype=torch.float64, device=row.device))
    distinct_row, count = torch.unique(row, return_counts=True)
    return Negatives(distinct_row, count.double().log())


def per_position(row: Int64[Tensor, "P M"], draws: Draws) -> Negatives:
    """M draws for each position apart, each weighted by 1 / (M q_j); `draws.num` is M."""
    return Negatives(row, -log_expected_count([draws], row))
