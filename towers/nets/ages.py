"""The age of titles: the part of both vectors whose inner product depends on how long ago a title came out.

Titles of last week are asked for because they are new, and those of next week will be. A vector for each
title and moment cannot say so of titles and moments that no event shows; a function of their distance can.
An index holds vectors, not functions of the question, so the function is laid out on ticks:

    title    κ(τ_j - released) for each tick τ_j
    question w_j(asked), the shares of the two ticks that it lies between

whose inner product is κ(asked - released), linear between ticks. The ticks go on past the end of the log, as
far as an index may serve, and what was learned of the last month's titles holds for those of the next.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from towers.data.days import SECONDS_PER_DAY
from towers.errors import ConfigError

SERVED_SHARE = 0.25
"""Of the span of a log, how far past its end the ticks go."""

_LOWEST, _HIGHEST = -6, 13
"""κ has a value at ages of ±(2^k - 1) days: from 63 days ahead to 22 years after."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """`num` moments from `start_seconds` to `end_seconds`, evenly.

    Between two ticks κ is blurred: it must be read with the blur that it was learned with.
    Seconds since 1970. Raises ConfigError on fewer than two, and where the end is not after the start.
    """

    start_seconds: int
    end_seconds: int
    num: int

    def __post_init__(self) -> None:
        if self.num < 2 or self.end_seconds <= self.start_seconds:
            raise ConfigError(
                f"ages: {self.num} ticks from {self.start_seconds} to {self.end_seconds}; expected 2 or "
                "more, from a moment to a later one"
            )

    @classmethod
    def over(cls, first_seconds: int, last_seconds: int, num: int) -> "Ticks":
        """The ticks of a log, from its first moment to a quarter of its span past the last."""
        served = int(SERVED_SHARE * (last_seconds - first_seconds))
        return cls(first_seconds, last_seconds + served + 1, num)

    def days(self, device: torch.device | None = None) -> Float[Tensor, " T"]:
        """Each tick in days since 1970, rising."""
        start, end = self.start_seconds / SECONDS_PER_DAY, self.end_seconds / SECONDS_PER_DAY
        return torch.linspace(start, end, self.num, device=device)

    def shares(self, seconds: Int64[Tensor, " n"]) -> Float[Tensor, "n T"]:
        """How near each moment is to each tick: 1 on it, falling to 0 at the next. The ends last."""
        span = self.end_seconds - self.start_seconds
        # As whole numbers: float32 counts the seconds of twenty years in steps of a minute.
        since = (seconds.clamp(self.start_seconds, self.end_seconds) - self.start_seconds) * (self.num - 1)
        share = (since % span).float() / span
        after = torch.arange(self.num, device=seconds.device) - (since // span)[:, None]
        return (1.0 - (share[:, None] - after).abs()).clamp(min=0.0)


class TitleAges(nn.Module):
    """Moments of titles and the sums of their features → how much age speaks for each at each tick.

    κ is linear in the logarithm of the age, and each title has a size of it, which its features say: a
    blockbuster is news, and a documentary keeps.
    """

    def __init__(self, ticks: Ticks, dim: int) -> None:
        super().__init__()
        self.ticks = ticks
        self.kappa = nn.Parameter(torch.zeros(_HIGHEST - _LOWEST + 1))
        self.size = nn.Linear(dim, 1)
        nn.init.zeros_(self.size.weight)
        nn.init.zeros_(self.size.bias)

    def forward(self, days: Float[Tensor, " n"], total: Float[Tensor, "n D"]) -> Float[Tensor, "n T"]:
        """Zeros where the moment is NaN. days: since 1970; total: the sum of a title's features."""
        kappa: Tensor = _Between.apply(self.kappa, self._place(days))  # type: ignore[no-untyped-call]
        return kappa * (torch.exp(self.size(total)) * days.isfinite()[:, None])

    @torch.no_grad()
    def _place(self, days: Float[Tensor, " n"]) -> Float[Tensor, "n T"]:
        """Where the age at each tick lies among the values of κ."""
        age = self.ticks.days(days.device) - days.nan_to_num()[:, None]
        logarithm = age.sign() * torch.log2(1.0 + age.abs())
        return logarithm.clamp(_LOWEST, _HIGHEST) - _LOWEST


class _Between(torch.autograd.Function):
    """The values of κ at places between them, linear, with the gradient written out.

    A few values are read by every title and tick: torch adds their gradient up entry by entry, at four times
    the cost of a weighted count.
    """

    @staticmethod
    def forward(ctx: Any, kappa: Tensor, place: Tensor) -> Tensor:
        below = place.floor().clamp_(max=len(kappa) - 2)
        row, share = below.long(), place - below
        ctx.save_for_backward(row, share)
        ctx.num = len(kappa)
        flat = row.flatten()
        found = torch.lerp(kappa.index_select(0, flat), kappa.index_select(0, flat + 1), share.flatten())
        return found.view(place.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        row, share = ctx.saved_tensors
        flat, above = row.flatten(), gradient * share
        found = torch.bincount(flat, (gradient - above).flatten(), ctx.num)
        found += torch.bincount(flat + 1, above.flatten(), ctx.num)
        return found.to(gradient.dtype), None
