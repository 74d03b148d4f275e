"""Planted faults: the batch and the weight, layer or gradient that a stopped training names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.towers.training.worlds import MANY_STEPS, block_split
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.errors import TrainingError
from towers.training.faults import first_fault
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return block_split()


class Explosive(torch.autograd.Function):
    """The same number, with a gradient that is not one."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.inf


class Explode(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return Explosive.apply(value)  # type: ignore[no-any-return, no-untyped-call]


def small(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 1))


def said(model: nn.Module, given: Tensor | None = None) -> str:
    asked = torch.ones(2, 3) if given is None else given
    return first_fault(model, lambda: model(asked).sum())


def test_a_weight_that_is_not_finite_is_named_first() -> None:
    model = small(nn.ReLU())
    with torch.no_grad():
        last = model[2].get_parameter("weight")
        last[0, 1] = torch.nan
    assert said(model) == "the weight 2.weight is not finite"


def test_the_first_layer_in_order_of_computation_is_named() -> None:
    class Overflowing(nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            return value * 1e30 * 1e30

    assert said(small(Overflowing(), nn.ReLU())) == (
        "the first layer whose output is not finite is 1, of finite input"
    )
    broken = torch.tensor([[1.0, torch.inf, 0.0]])
    assert said(small(nn.ReLU()), broken) == (
        "the first layer whose output is not finite is 0, of input that is not finite"
    )


def test_the_first_gradient_from_the_loss_back_is_named() -> None:
    assert said(small(Explode(), nn.ReLU())) == (
        "going back from the loss, the gradient is first not finite at the output of 0"
    )


def test_a_norm_that_overflows_names_the_largest_gradient() -> None:
    model = small()
    with torch.no_grad():
        model[1].get_parameter("weight").fill_(3e25)
    # Two lines of ones: each weight of the first layer moves their sum by 2 · 3e25.
    assert (
        said(model) == "the largest gradient is that of the weight 0.weight, 6e+25, and their norm overflows"
    )


def test_nothing_is_left_behind() -> None:
    model = small(nn.ReLU())
    said(model)
    assert all(not layer._forward_hooks for layer in model.modules())
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("weight", r"the weight members\.0\.users\.item\.weight is not finite"),
        (
            "feature",
            r"the first layer whose output is not finite is members\.0\.items\.numeric, of input that is not",
        ),
        (
            "gradient",
            r"going back from the loss, the gradient is first not finite at the output of members\.0\.users",
        ),
    ],
)
def test_a_training_stops_at_the_first_bad_batch_names_its_layer_and_keeps_the_last_good_state(
    world: tuple[Dataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, found: str
) -> None:
    before = TwoTowerModule.on_train_batch_start

    def plant(module: TwoTowerModule, batch: Any, batch_idx: int) -> None:
        before(module, batch, batch_idx)
        if (module.current_epoch, batch_idx) != (1, 3):
            return
        match fault:
            case "weight":
                with torch.no_grad():
                    module.towers.pairs()[0].users.item.weight[0, 0] = torch.inf
            case "feature":
                module.items.get_buffer("numeric")[5] = torch.nan
            case "gradient":
                module.towers.pairs()[0].users.out.append(Explode())

    monkeypatch.setattr(TwoTowerModule, "on_train_batch_start", plant)
    settings = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, checkpoint_steps=2))
    with pytest.raises(TrainingError, match=rf"epoch 1, batch 3, .*{found}.*expected finite numbers"):
        fit_towers(*world, settings, tmp_path)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert last["global_step"] == 12 + 2
    assert all(torch.isfinite(value).all() for value in last["state_dict"].values())
