"""A step of learning: in parts as in one pass, in bfloat16, compiled, and the rate at which it is taken."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.forked import ROOT, run_script
from tests.towers.training.modules import gradients, module_and_batches
from tests.towers.training.worlds import MANY_STEPS, nothing_dropped, uneven_split
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule
from towers.training.settings import FitSettings, Precision, TrainerSettings

World = tuple[Dataset, Split]

STILL = replace(
    MANY_STEPS,
    model=replace(nothing_dropped(MANY_STEPS.model), max_history=20),
    loader=replace(MANY_STEPS.loader, batch_positions=200),
)
"""Nothing is dropped, so that two passes are the same."""


@pytest.fixture(scope="module")
def world() -> World:
    return uneven_split()


def with_trainer(settings: FitSettings, trainer: TrainerSettings) -> FitSettings:
    return replace(settings, trainer=trainer)


@pytest.mark.parametrize("micro_positions", [1, 30, 70, 10_000])
def test_a_batch_in_parts_has_the_loss_and_the_gradients_of_the_whole(
    world: World, micro_positions: int
) -> None:
    whole, batches = module_and_batches(world, STILL)
    parted, _ = module_and_batches(
        world, with_trainer(STILL, replace(STILL.trainer, micro_positions=micro_positions))
    )
    parted.load_state_dict(whole.state_dict())
    for batch in batches:
        one, two = whole.batch_loss(batch)[0], parted.batch_loss(batch)[0]
        assert one.item() == pytest.approx(two.item(), abs=1e-6)
        expected, found = gradients(whole, one), gradients(parted, two)
        assert expected.keys() == found.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=0, msg=name)


def test_a_batch_in_parts_with_dropout_learns(world: World, tmp_path: Path) -> None:
    settings = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, micro_positions=10, max_epochs=1))
    one, two = (fit_towers(*world, settings, tmp_path / name) for name in ("one", "two"))
    for (name, value), (_, other) in zip(one.state_dict().items(), two.state_dict().items(), strict=True):
        assert torch.equal(value, other), name


def kept_bytes(world: World, micro_positions: int) -> int:
    settings = with_trainer(STILL, replace(STILL.trainer, micro_positions=micro_positions))
    settings = replace(settings, loader=replace(settings.loader, batch_positions=10_000))
    module, (batch,) = module_and_batches(world, settings)
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module.batch_loss(batch)[0]
    assert torch.isfinite(loss)
    return sum(kept.values())


def test_a_batch_in_parts_holds_less_between_the_passes(world: World) -> None:
    assert kept_bytes(world, micro_positions=40) < kept_bytes(world, micro_positions=0) / 2


def test_bfloat16_trains_with_a_loss_and_weights_in_float32(world: World, tmp_path: Path) -> None:
    settings = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, precision=Precision.BFLOAT16_MIXED))
    towers = fit_towers(*world, replace(settings, trainer=replace(settings.trainer, max_epochs=2)), tmp_path)
    assert {weight.dtype for weight in towers.parameters()} == {torch.float32}
    curves = np.genfromtxt(tmp_path / "curves" / "version_0" / "metrics.csv", delimiter=",", names=True)
    losses = curves["trainloss"]
    assert losses[-1] < losses[0]
    module, batches = module_and_batches(world, STILL)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, _ = module.batch_loss(batches[0])
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(module.batch_loss(batches[0])[0].item(), rel=0.02)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_final_share(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = TwoTowerModule.optimizer_step

    def recorded(module: TwoTowerModule, *given: Any) -> None:
        rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])
        step(module, *given)

    monkeypatch.setattr(TwoTowerModule, "optimizer_step", recorded)
    trainer = replace(
        MANY_STEPS.trainer, max_epochs=1, learning_rate=0.02, warmup_share=0.25, final_share=0.1
    )
    fit_towers(*world, with_trainer(MANY_STEPS, trainer), tmp_path)
    up = round(0.25 * len(rates))
    # The cosine would be at its end in the step after the last.
    down = [step / (len(rates) - up) for step in range(len(rates) - up)]
    cosine = [0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * progress)) for progress in down]
    rise = [(step + 1) / up for step in range(up)]
    assert up > 1
    np.testing.assert_allclose(rates, 0.02 * np.array([*rise, *cosine]), rtol=1e-12)


@pytest.mark.slow
def test_compiled_blocks_give_what_they_gave_at_every_length() -> None:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler on this machine")
    # In this process: others that compile would each load torch anew.
    compiled = Path(__file__).with_name("compiled.py")
    done = run_script(compiled, PYTHONPATH=str(ROOT), TORCHINDUCTOR_COMPILE_THREADS="1")
    assert done.returncode == 0, done.stderr
    num_shapes, num_graphs, of_loss, of_gradient, same_names = done.stdout.split()
    assert int(num_shapes) > 4
    # One of all lengths, and one each of a length that is special: the longest, and a single window.
    assert int(num_graphs) <= 3
    assert float(of_loss) < 1e-6
    assert float(of_gradient) < 1e-5
    assert same_names == "True"


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_what_it_lacks(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import torch; from towers.training.compiling import compile_layers\n"
        "compile_layers([torch.nn.Linear(2, 2)], torch.device('cpu'))\n"
    )
    # No compiler on the path, and none of what an earlier run had compiled.
    done = run_script(program, PATH=str(tmp_path), TORCHINDUCTOR_CACHE_DIR=str(tmp_path))
    assert re.search(
        r"ConfigError: trainer\.compile: nothing can be compiled for cpu: .*; expected a C\+\+ compiler .*"
        r"trainer\.compile=false",
        done.stderr,
    ), done.stderr
