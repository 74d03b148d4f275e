"""The private mechanism of a training: its noise, and the ε of so many steps."""

import math
import warnings
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from towers.errors import ConfigError, MissingExtraError
from towers.training.dp.settings import Accountant, DPSettings

_DELTA_POWER = 1.1

NOT_COVERED = (
    "titles and their facts, taken to be public: the items table, which has every title, watched or not",
    "how many profiles there are, and what the recipe read of the log: counts and days",
    "the first and the last moment of the log, between which the towers know moments and ages",
    "which values of the profiles' own features have a row",
    "how the log was cut and cleaned: cut-offs, coarsened places, rejected rows",
    "train events of each title (num_events), the profiles' histories and their vectors in a release",
    "losses and counts in the checkpoints folder, figures of an evaluation, and choices made by them",
    "other trainings on the same profiles: the ε of all that anybody sees add up",
)
"""What an export or a release says of profiles beside the weights, without noise."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """The Poisson-sampled Gaussian mechanism: each step's noisy sum of the gradients of some profiles.

    noise_multiplier: σ, standard deviation over max_grad_norm, C. sample_rate: q, of each profile in each
    step. num_profiles: who can be drawn. num_steps: of the whole training.
    Source: Abadi et al. 2016, arXiv:1607.00133, for profiles as McMahan et al. 2018, arXiv:1710.06963.
    """

    noise_multiplier: float
    max_grad_norm: float
    expected_batch_size: int
    sample_rate: float
    num_profiles: int
    steps_per_epoch: int
    num_steps: int
    delta: float
    accountant: Accountant

    @classmethod
    def of(cls, settings: DPSettings, num_profiles: int, num_epochs: int) -> "Mechanism":
        """That of the settings, for so many profiles to learn from; an epoch draws each once on average.

        Raises ConfigError where there are fewer profiles than a step is to have, or δ is above 1 / profiles;
        MissingExtraError without Opacus, which accounts.
        """
        expected = settings.expected_batch_size
        if expected > num_profiles:
            raise ConfigError(
                f"trainer.dp.expected_batch_size: {expected} of {num_profiles} profiles; expected no more "
                "than there are"
            )
        delta = num_profiles**-_DELTA_POWER if settings.delta is None else settings.delta
        if delta * num_profiles > 1.0:
            raise ConfigError(
                f"trainer.dp.delta: {delta:g} of {num_profiles} profiles; expected at most "
                f"{1.0 / num_profiles:.3g}: with more, a model that gives one profile away whole would do"
            )
        rate = expected / num_profiles
        per_epoch = max(1, round(1.0 / rate))
        sigma = settings.noise_multiplier
        if sigma is None:
            sigma = _noise_multiplier(settings, delta, rate, per_epoch * num_epochs)
        return cls(
            sigma,
            settings.max_grad_norm,
            expected,
            rate,
            num_profiles,
            per_epoch,
            per_epoch * num_epochs,
            delta,
            settings.accountant,
        )

    def epsilon(self, num_steps: int) -> float:
        """ε of so many steps, at δ: the accountant's upper bound; infinite without noise."""
        if num_steps == 0:
            return 0.0
        if self.noise_multiplier == 0.0:
            return math.inf
        accountant = _opacus("accountants").create_accountant(mechanism=self.accountant.value)
        accountant.history = [(self.noise_multiplier, self.sample_rate, num_steps)]
        with _without_warnings():
            return float(accountant.get_epsilon(delta=self.delta))

    def report(self, num_steps: int, max_events: int) -> dict[str, Any]:
        """What an export says of it, as plain values; ε is None where it is infinite.

        max_events: the newest so many of a profile count.
        """
        epsilon = self.epsilon(num_steps)
        return {
            "epsilon": epsilon if math.isfinite(epsilon) else None,
            "delta": self.delta,
            "unit": "profile",
            "neighbours": "two logs, of which one has one profile more, with all its events",
            "noise_multiplier": self.noise_multiplier,
            "max_grad_norm": self.max_grad_norm,
            "sample_rate": self.sample_rate,
            "expected_batch_size": self.expected_batch_size,
            "num_profiles": self.num_profiles,
            "num_steps": num_steps,
            "max_events": max_events,
            "accountant": self.accountant.value,
            "selected_by": "nothing: the last epoch",
            "covers": "the weights of the towers and the vectors of titles, which are made of them",
            "not_covered": list(NOT_COVERED),
        }


def _noise_multiplier(settings: DPSettings, delta: float, rate: float, num_steps: int) -> float:
    """The least noise, to a hundredth of ε, under which all steps together spend no more than the target."""
    with _without_warnings():
        try:
            found: float = _opacus("accountants.utils").get_noise_multiplier(
                target_epsilon=settings.target_epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=num_steps,
                accountant=settings.accountant.value,
            )
        except ValueError as error:
            raise ConfigError(
                f"trainer.dp.target_epsilon: {settings.target_epsilon} in {num_steps} steps: {error}; "
                "expected more, or fewer epochs"
            ) from error
    return found


def _without_warnings() -> warnings.catch_warnings:
    """Keeps out of the log that Opacus's bounds could be tighter: they are bounds all the same."""
    return warnings.catch_warnings(action="ignore")


def _opacus(module: str) -> ModuleType:
    try:
        return import_module(f"opacus.{module}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"trainer.dp: {error.name} is not installed; expected the extra `privacy`: "
            "pip install 'two-tower-retrieval[privacy]'"
        ) from error
