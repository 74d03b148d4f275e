"""logQ: how probable it is that an item is among the negatives, of several samplers at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Draws:
    """Independent draws of items, with replacement.

    probability: (N,), of each item in one draw, or what gives it of rows; above 0 for every item that can be
    drawn. num: how many draws.
    """

    probability: Float[Tensor, " N"] | Callable[[Tensor], Tensor]
    num: int

    def of(self, row: Int64[Tensor, "*S"]) -> Float64[Tensor, "*S"]:
        """The probability of these items in one draw."""
        given = self.probability
        return (given[row] if isinstance(given, Tensor) else given(row)).double()


def uniform_draws(num_items: int, num: int, device: torch.device) -> Draws:
    """`num` draws of any of the items alike."""
    return Draws(torch.full((), 1.0 / num_items, dtype=torch.float64, device=device).expand(num_items), num)


def log_inclusion(draws: Sequence[Draws], row: Int64[Tensor, "*S"]) -> Float64[Tensor, "*S"]:
    """Log-probability that an item is drawn at least once, by any of the samplers.

    log pi_j = log( 1 - prod_s (1 - q_sj)^n_s ),  q_sj the probability of j in one of the n_s draws of sampler
    s. Of in-batch and uniform negatives together (Yang et al., WWW 2020, doi:10.1145/3366424.3386195) it is
    exact; what they subtract is the log of the mixture's probability, n_1 q_1j + n_2 q_2j over n_1 + n_2,
    which is its limit, up to a constant, where both are small.
    """
    absent = torch.zeros(row.shape, dtype=torch.float64, device=row.device)
    for part in draws:
        if part.num:
            absent += part.num * torch.log1p(-part.of(row))
    return torch.log(-torch.expm1(absent))


def log_expected_count(draws: Sequence[Draws], row: Int64[Tensor, "*S"]) -> Float64[Tensor, "*S"]:
    """Log of how many times an item is drawn on average: log sum_s n_s q_sj.

    Linear, so it holds for draws that depend on each other too, as those of one profile's history do.
    """
    expected = torch.zeros(row.shape, dtype=torch.float64, device=row.device)
    for part in draws:
        expected += part.num * part.of(row)
    return expected.log()
