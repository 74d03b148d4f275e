"""What a private step is made of, beside the same one profile at a time by autograd."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.towers.training.modules import gradients
from tests.towers.training.worlds import MANY_STEPS, block_split, nothing_dropped, uneven_split
from towers.data.batches import Batch
from towers.data.dataset import Dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.split import Split
from towers.data.windows import TrainingWindows
from towers.nets.two_tower import TwoTower
from towers.objectives.hard_negatives import HardNegativeSettings
from towers.objectives.settings import NegativeKind, ObjectiveKind, ObjectiveSettings, Routing
from towers.training.dp.mechanism import Mechanism
from towers.training.dp.module import PrivateTowerModule
from towers.training.dp.noise import NoiseSource, secure_normal
from towers.training.dp.private_fit import public_split
from towers.training.dp.profiles import ProfileDataModule, newest_windows
from towers.training.dp.settings import DPSettings
from towers.training.settings import FitSettings

SMALL = replace(
    MANY_STEPS,
    model=nothing_dropped(replace(MANY_STEPS.model, max_history=8)),
    objective=ObjectiveSettings(temperature=0.3),
)
UNIFORM: dict[str, Any] = {"negatives": NegativeKind.UNIFORM, "num_negatives": 7, "temperature": 0.3}


class OutsideModule(PrivateTowerModule):
    """A module outside of a trainer, in its first epoch."""

    current_epoch = 0


def private(
    world: tuple[Dataset, Split],
    settings: FitSettings = SMALL,
    *,
    sigma: float = 0.0,
    norm: float = 1.0,
    noise: NoiseSource = secure_normal,
) -> tuple[OutsideModule, ProfileDataModule]:
    torch.manual_seed(0)
    dataset, parts = world[0], public_split(world[1], world[0])
    encoder = fit_features(*training_rows(dataset, parts), settings.features)
    windows = TrainingWindows(
        parts.learned,
        parts.num_train,
        encoder.encode_profiles(dataset.profile_table, dataset.country),
        settings.model.max_history,
        settings.objective.num_targets,
    )
    dp = DPSettings(noise_multiplier=sigma, max_grad_norm=norm, expected_batch_size=8)
    mechanism = Mechanism.of(dp, int((parts.num_train > 0).sum()), 1)
    data = ProfileDataModule(windows, mechanism)
    module = OutsideModule(
        TwoTower.of_span(settings.model, encoder, *parts.learned_seconds),
        encoder.encode(dataset.items),
        parts,
        settings.objective,
        settings.trainer,
        0,
        lineage="",
        num_batches=data.num_batches,
        mechanism=mechanism,
        noise=noise,
    )
    # Nothing at 0, where a gradient could be forgotten and nobody would see it.
    for weight in module.towers.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return module, data


def of_one(module: PrivateTowerModule, window: Batch) -> Tensor:
    """The gradient of the ordinary loss of a batch of one profile, by all weights, in float64."""
    module.asked_loss.seed(0, 0, 0)
    found = gradients(module, module.batch_loss(window)[0])
    by_weight = {id(weight): name for name, weight in module.towers.named_parameters()}
    parts = []
    for weight in module._learned:
        gradient = found.get(by_weight[id(weight)], torch.zeros_like(weight))
        parts.append(gradient.flatten().double())
    return torch.cat(parts)


def flat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten().double() for part in parts])


def with_model(**model: Any) -> FitSettings:
    return replace(SMALL, model=replace(SMALL.model, **model))


def with_objective(**objective: Any) -> FitSettings:
    return replace(SMALL, objective=ObjectiveSettings(**objective))


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return uneven_split()


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        with_model(num_members=2, dim=32, num_layers=2, moment_days=0.005),
        with_objective(kind=ObjectiveKind.SAMPLED_SOFTMAX, **UNIFORM),
        with_objective(kind=ObjectiveKind.SAMPLED_SOFTMAX, hard=HardNegativeSettings(num=3), **UNIFORM),
        with_objective(kind=ObjectiveKind.GBCE, shared=False, num_targets=3, **UNIFORM),
        replace(
            with_model(num_interests=2),
            objective=ObjectiveSettings(temperature=0.3, routing=Routing.MAX, matryoshka=[8, 16]),
        ),
    ],
    ids=["softmax", "members", "sampled", "hard", "each its own", "interests"],
)
def test_the_sum_is_that_of_each_profile_by_itself_cut_to_the_norm(
    world: tuple[Dataset, Split], settings: FitSettings
) -> None:
    module, data = private(world, settings)
    batch = newest_windows(data.windows, data.profile[[3, 28, 0, 13, 9]])
    each = [of_one(module, window) for window in batch.parts(0)]
    norms = torch.stack([one.norm() for one in each])
    # Some are cut and some are not.
    bound = float(norms.median())
    module.mechanism = replace(module.mechanism, max_grad_norm=bound)
    expected = sum(one * min(1.0, bound / float(one.norm())) for one in each)
    found = module.clipped_sum(batch, 0)
    torch.testing.assert_close(flat(found.gradients), expected, atol=2e-6, rtol=2e-4)
    torch.testing.assert_close(found.norm.sort().values.double(), norms.sort().values, atol=0, rtol=1e-4)


def test_without_noise_and_cutting_a_step_is_an_ordinary_one_on_the_same_profiles() -> None:
    # Of histories of one length, whose events weigh alike, the mean over targets is that over profiles.
    dataset, parts = block_split()
    alike = replace(parts.learned, weight=np.ones_like(parts.learned.weight))
    module, data = private((dataset, replace(parts, learned=alike)), norm=1e9)
    batch = newest_windows(data.windows, data.profile[5:13])
    weights = dict(module.towers.named_parameters())
    found = gradients(module, module.training_step(batch, 0))
    ordinary = gradients(module, module.batch_loss(batch)[0])
    assert found.keys() == weights.keys()
    for name, gradient in ordinary.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_the_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    module, _ = private(block_split(), sigma=1.5, norm=0.4)
    nothing = [torch.zeros_like(weight) for weight in module._learned]
    noise = torch.cat([flat(module.noisy_mean(nothing)) for _ in range(20)]) / (1.5 * 0.4 / 8)
    # Six standard errors, of a mean and of a variance.
    assert abs(float(noise.mean())) < 6 / len(noise) ** 0.5
    assert abs(float(noise.var()) - 1) < 6 * (2 / len(noise)) ** 0.5


def test_of_a_step_nobody_was_drawn_for_the_noise_is_all_there_is() -> None:
    drawn: list[int] = []

    def ones(num: int) -> Tensor:
        drawn.append(num)
        return torch.ones(num, dtype=torch.float64)

    module, data = private(block_split(), sigma=2.0, norm=0.5, noise=ones)
    empty = newest_windows(data.windows, data.profile[:0])
    found = gradients(module, module.training_step(empty, 0))
    assert drawn == [sum(weight.numel() for weight in module.towers.parameters())]
    for name, weight in module.towers.named_parameters():
        torch.testing.assert_close(found[name], torch.full_like(weight, 2.0 * 0.5 / 8), msg=name)


def test_a_profile_moves_the_sum_by_no_more_than_the_norm_however_much_it_watched(
    world: tuple[Dataset, Split],
) -> None:
    dataset, parts = world
    longest = int(parts.num_train.argmax())
    fewer = parts.num_train.copy()
    fewer[longest] = 0
    module, data = private(world, norm=0.05)
    without, _ = private((dataset, replace(parts, num_train=fewer)), norm=0.05)
    others = data.profile[data.profile % 3 == 0]
    assert longest not in others
    batch = newest_windows(data.windows, torch.tensor([*others, longest]).numpy())
    assert int(batch.num_events.max()) == SMALL.model.max_history + 1 < parts.num_train[longest]
    few = newest_windows(data.windows, others)
    # A log that never had the profile gives the same weights, titles and losses of all others.
    of_all, of_others = module.clipped_sum(batch, 0), without.clipped_sum(few, 0)
    moved = flat(of_all.gradients) - flat(of_others.gradients)
    assert float(of_all.norm.max()) > 0.05
    assert 0.04 < float(moved.norm()) <= 0.05 * (1 + 1e-4)
