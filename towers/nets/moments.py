"""The moment of a question as a vector: what everybody watches changes from week to week."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.data.days import SECONDS_PER_DAY
from towers.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Clock:
    """Moments with a vector of their own: `num_knots`, from `start_seconds` on, `step_seconds` apart.

    end_seconds: the last moment that is known, not after the last knot.
    """

    start_seconds: int
    step_seconds: int
    num_knots: int
    end_seconds: int

    def __post_init__(self) -> None:
        if self.step_seconds < 1 or self.num_knots < 1:
            raise ConfigError(
                f"clock: {self.num_knots} knots {self.step_seconds} seconds apart; expected 1 or more of each"
            )

    @classmethod
    def over(cls, first_seconds: int, last_seconds: int, step_days: float) -> "Clock":
        """Knots from the first moment on, so many that the last one lies between two or on one."""
        step = max(1, round(step_days * SECONDS_PER_DAY))
        return cls(first_seconds, step, 2 + (last_seconds - first_seconds - 1) // step, last_seconds)

    def grown(self, last_seconds: int) -> "Clock":
        """The clock that also covers a later moment; the knots that there are stay where they are."""
        covering = 2 + (last_seconds - self.start_seconds - 1) // self.step_seconds
        return replace(
            self,
            num_knots=max(self.num_knots, covering),
            end_seconds=max(self.end_seconds, last_seconds),
        )


class Moments(nn.Module):
    """Moments → vectors, linear between the knots of a clock.

    Before the first knot it is that knot's, and after the end that of the end: the knot beyond it was hardly
    learned, and what is asked after training is answered as of its end. The inner product of a moment's
    vector with an item's is how much the item is asked for at that time: a factorisation of titles by time,
    with as many factors as the vectors have dimensions.
    Source: the time bins of timeSVD++, Koren 2009, doi:10.1145/1557019.1557072, here interpolated.
    """

    def __init__(self, clock: Clock, dim: int) -> None:
        super().__init__()
        self.clock = clock
        self.knot = nn.Parameter(torch.zeros(clock.num_knots, dim))

    def forward(self, seconds: Int64[Tensor, " n"]) -> Float[Tensor, "n D"]:
        """The vector of each moment, in seconds since 1970."""
        clock, last = self.clock, self.clock.num_knots - 1
        # Clamped as whole numbers: float32 counts the seconds of today in steps of two minutes.
        since = seconds.clamp(min=clock.start_seconds, max=clock.end_seconds) - clock.start_seconds
        before = (since // clock.step_seconds).clamp(max=max(last - 1, 0))
        share = (since - before * clock.step_seconds).to(self.knot.dtype) / clock.step_seconds
        after = (before + 1).clamp(max=last)
        return torch.lerp(self.knot.index_select(0, before), self.knot.index_select(0, after), share[:, None])
