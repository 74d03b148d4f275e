"""The averaged weights: by the formula, and what is validated, selected and given back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.towers.training.worlds import MANY_STEPS, block_split
from towers.data.dataset import Dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.split import Split
from towers.evaluation.evaluate import evaluate
from towers.evaluation.exact import ExactRecommender
from towers.nets.two_tower import TwoTower
from towers.training.averaging import AveragedTowers
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule

AVERAGED = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, ema_decay=0.8, max_epochs=2))


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return block_split()


def towers_of(world: tuple[Dataset, Split]) -> TwoTower:
    encoder = fit_features(*training_rows(*world), MANY_STEPS.features)
    return TwoTower.of_span(MANY_STEPS.model, encoder, *world[1].learned_seconds)


def test_the_average_is_that_of_the_formula_and_leaves_the_trained_weights_alone(
    world: tuple[Dataset, Split],
) -> None:
    towers = towers_of(world)
    averaged = AveragedTowers(towers, decay=0.5)
    weight = towers.pairs()[0].users.item.weight
    expected = weight.detach().double().numpy()
    rng = np.random.default_rng(0)
    for step in range(20):
        new = rng.normal(size=expected.shape)
        with torch.no_grad():
            weight.copy_(torch.from_numpy(new))
        averaged.update(step)
        # 1/10, 2/11, 3/12, … until a half is less.
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * new
        np.testing.assert_array_equal(weight.detach().numpy(), new.astype(np.float32))
    np.testing.assert_allclose(averaged.towers.pairs()[0].users.item.weight.numpy(), expected, atol=1e-6)


def test_the_encoder_is_not_kept_twice_and_the_average_asks_for_no_gradient(
    world: tuple[Dataset, Split],
) -> None:
    towers = towers_of(world)
    averaged = AveragedTowers(towers, decay=0.9)
    assert averaged.towers.encoder is towers.encoder
    assert not any(weight.requires_grad for weight in averaged.parameters())
    assert all(weight.requires_grad for weight in towers.parameters())


def test_the_averaged_towers_of_the_best_epoch_are_given_back(
    world: tuple[Dataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    step = TwoTowerModule.optimizer_step

    def note(module: TwoTowerModule) -> None:
        seen.append({name: weight.detach().double() for name, weight in module.towers.named_parameters()})

    def recorded(module: TwoTowerModule, *given: Any) -> None:
        if not seen:
            note(module)
        step(module, *given)
        note(module)

    monkeypatch.setattr(TwoTowerModule, "optimizer_step", recorded)
    dataset, parts = world
    given = fit_towers(dataset, parts, AVERAGED, tmp_path)
    judged = torch.load(tmp_path / "best.ckpt", weights_only=True)
    num_steps = judged["global_step"]
    # From the weights at the start and after each step, in float64.
    average = seen[0]
    for number, weights in enumerate(seen[1 : num_steps + 1]):
        decay = min(0.8, (1 + number) / (10 + number))
        average = {name: decay * average[name] + (1 - decay) * weights[name] for name in average}
    for name, weight in given.named_parameters():
        torch.testing.assert_close(weight.detach().double(), average[name], atol=1e-6, rtol=0, msg=name)
    score = validation_ndcg(given, dataset, parts)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    (best,) = (state["best_model_score"] for name, state in last.items() if "BestEpoch" in name)
    assert float(best) == pytest.approx(score, abs=1e-6)


def validation_ndcg(towers: TwoTower, dataset: Dataset, parts: Split) -> float:
    vectors = towers.embed(towers.encoder.encode(dataset.items))
    item = torch.from_numpy(vectors)
    encode: Callable[[Any], np.ndarray] = lambda queries: towers.encode(queries, item)  # noqa: E731
    judged = evaluate(
        ExactRecommender(encode, vectors),
        parts.validation,
        num_items=len(vectors),
        ks=(10,),
        name="by hand",
        show_progress=False,
    )
    return float(judged.per_query("ndcg@10").mean())
