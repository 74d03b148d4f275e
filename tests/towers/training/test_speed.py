"""The report of a training's speed, against what was counted by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.towers.training.modules import module_and_batches
from tests.towers.training.worlds import MANY_STEPS, uneven_split
from towers.training.fit import fit_towers
from towers.training.flops import num_flops


def test_products_are_counted_in_both_passes() -> None:
    layer = nn.Linear(16, 8)
    given = torch.randn(32, 16, requires_grad=True)
    assert num_flops(lambda: layer(given)) == 2 * 32 * 16 * 8
    assert num_flops(lambda: torch.autograd.backward(layer(given).sum())) == 3 * 2 * 32 * 16 * 8


def test_attention_is_counted_on_a_cpu_too() -> None:
    query, key = torch.randn(3, 2, 5, 8, requires_grad=True), torch.randn(3, 2, 7, 8)
    products = 2 * 3 * 2 * 5 * 7 * 8

    def attend() -> Tensor:
        return F.scaled_dot_product_attention(query, key, key)

    assert num_flops(attend) == 2 * products
    # Back: the scores once more, and the gradients of scores, values, queries and keys.
    assert num_flops(lambda: torch.autograd.backward(attend().sum())) == 2 * products + 5 * products


def test_a_step_counts_towers_and_softmax() -> None:
    world = uneven_split()
    narrow = replace(MANY_STEPS, loader=replace(MANY_STEPS.loader, batch_positions=100))
    # What is computed twice to save memory is not counted twice.
    parted = replace(narrow, trainer=replace(narrow.trainer, micro_positions=20))
    of_whole, of_parts = (
        module.step_flops(batches[0])[0]
        for module, batches in (module_and_batches(world, one) for one in (narrow, parted))
    )
    assert of_parts == pytest.approx(of_whole, rel=0.15)
    counted = {}
    for dim in (16, 32):
        module, batches = module_and_batches(world, replace(narrow, model=replace(narrow.model, dim=dim)))
        counted[dim], asked = module.step_flops(batches[0])
        assert asked == len(batches[0].questions(1).window)
        scores = 6 * asked * int(world[1].seen.sum()) * dim
        # At the least, the user tower's layers of (D, 3 D), (D, D), (D, D), (D, 4 D), (2 D, D) and (D, D).
        positions = len(batches[0]) * (batches[0].longest + 1)
        assert counted[dim] > scores + 3 * 2 * positions * 12 * dim * dim
    assert 2.0 < counted[32] / counted[16] < 4.0


def test_a_training_reports_what_it_did(tmp_path: Path) -> None:
    world = uneven_split()
    fit_towers(*world, replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, max_epochs=2)), tmp_path)
    found = json.loads((tmp_path / "training_speed.json").read_text())
    # Every train event is asked for once an epoch.
    assert found["num_positions"] == 2 * int(world[1].num_train.sum())
    assert found["positions_per_second"] == pytest.approx(found["num_positions"] / found["seconds"])
    assert found["flops_per_second"] == pytest.approx(
        found["positions_per_second"] * found["flops_per_position"]
    )
    assert 0.0 <= found["loader_share"] <= 1.0
    assert found["peak_memory_bytes"] > 2**20
    assert (found["device"], found["num_ranks"]) == ("cpu", 1)
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float))
