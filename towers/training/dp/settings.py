"""How much the weights may tell of a profile, as settings; imports nothing that trains."""

from dataclasses import dataclass, fields
from enum import StrEnum

from towers.errors import ConfigError
from towers.settings import bounded


class Accountant(StrEnum):
    """What adds up the ε of the steps."""

    PRV = "prv"
    """Privacy loss composed as a distribution, numerically: the tightest (arXiv:2106.02848)."""
    RDP = "rdp"
    """Rényi divergences of many orders: a looser bound, in a part of the time (arXiv:1908.10530)."""


@dataclass(frozen=True, slots=True)
class DPSettings:
    """Differential privacy of the weights, for a profile as a whole; off where ε and σ are both null.

    target_epsilon: ε of the whole training; the noise is chosen for it. noise_multiplier: σ, in its place; 0
    cuts gradients and adds no noise, which is private at no ε and shows what the cutting costs.
    delta: δ; null: profiles ** -1.1, and never above one over the profiles.
    max_grad_norm: C, to which the gradient of a profile is cut.
    expected_batch_size: profiles of a step on average; each is drawn by itself, with the probability
    q = expected_batch_size / profiles.
    """

    target_epsilon: float | None = bounded(None, gt=0.0)
    noise_multiplier: float | None = bounded(None, ge=0.0)
    delta: float | None = bounded(None, gt=0.0, lt=1.0)
    max_grad_norm: float = bounded(1.0, gt=0.0)
    expected_batch_size: int = bounded(256, ge=1)
    accountant: Accountant = Accountant.PRV

    def __post_init__(self) -> None:
        if self.target_epsilon is not None and self.noise_multiplier is not None:
            raise ConfigError(
                "trainer.dp: target_epsilon and noise_multiplier are both given; expected one: each decides "
                "the other"
            )
        given = [one.name for one in fields(self) if getattr(self, one.name) != one.default]
        if given and not self.on:
            raise ConfigError(
                f"trainer.dp.{given[0]}: without noise nothing is private; expected "
                "trainer.dp.target_epsilon or trainer.dp.noise_multiplier beside it"
            )

    @property
    def on(self) -> bool:
        """Whether training is private."""
        return self.target_epsilon is not None or self.noise_multiplier is not None
