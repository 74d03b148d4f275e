"""The loss of a batch beside the same sum by hand, in float64, one question after another."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.towers.training.modules import gradients, module_and_batches
from tests.towers.training.worlds import MANY_STEPS, uneven_split
from tests.worlds import block_world
from towers.data.batches import Batch
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import Split, SplitSettings, split
from towers.objectives.settings import Correction, NegativeKind, ObjectiveKind, ObjectiveSettings
from towers.training.module import TwoTowerModule
from towers.training.settings import FitSettings

TEMPERATURE = 0.3


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return uneven_split()


def asking(**objective: object) -> FitSettings:
    return replace(
        MANY_STEPS,
        objective=ObjectiveSettings(temperature=TEMPERATURE, **objective),  # type: ignore[arg-type]
        model=replace(MANY_STEPS.model, max_history=8),
    )


def vectors_of(module: TwoTowerModule, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Of every position and of every title."""
    module.eval()
    with torch.no_grad():
        item = module.towers.item_vectors(module.items)
        return module.towers(batch, item).double().numpy(), item.double().numpy()


def by_hand(
    module: TwoTowerModule, batch: Batch, split: Split, num_targets: int, num_openings: int
) -> tuple[float, float]:
    """The weighted mean of -log softmax over the seen titles, and the sum of the weights."""
    query, item = vectors_of(module, batch)
    seen = np.flatnonzero(split.seen)
    total = weights = 0.0
    position = event = 0
    for window in range(len(batch)):
        shown, there = int(batch.num_shown[window]), int(batch.num_events[window])
        rows = batch.item_row[event : event + there].tolist()
        likes = batch.weight[event : event + there].tolist()
        for place in range(shown + 1):
            if place == 0 and not (batch.from_first[window] and num_openings):
                continue
            score = item[seen] @ query[position + place] / TEMPERATURE
            log_softmax = score - np.log(np.exp(score).sum())
            if place == 0:
                targets, share = rows[:num_openings], [1.0] * len(rows[:num_openings])
            else:
                targets = rows[place : place + num_targets]
                share = [1.0 / (1 + t) for t in range(len(targets))]
            liked = likes[place : place + len(targets)]
            for row, part, like in zip(targets, share, liked, strict=True):
                weight = part / sum(share) * like
                total -= weight * log_softmax[np.searchsorted(seen, row)]
                weights += weight
        position, event = position + shown + 1, event + there
    return total / weights, weights


@pytest.mark.parametrize(("num_targets", "num_openings"), [(1, 1), (1, 4), (3, 2), (1, 0)])
def test_next_events_and_openings_are_asked_as_by_hand(
    world: tuple[Dataset, Split], num_targets: int, num_openings: int
) -> None:
    module, batches = module_and_batches(world, asking(num_targets=num_targets, num_openings=num_openings))
    module.eval()
    kinds = set()
    for batch in batches:
        kinds |= set(batch.from_first.tolist())
        expected, of_all = by_hand(module, batch, world[1], num_targets, num_openings)
        loss, weight, num_asked = module.batch_loss(batch)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert weight.item() == pytest.approx(of_all, rel=1e-5)
        openings = int(batch.from_first.sum()) if num_openings else 0
        assert num_asked == int(batch.num_shown.sum()) + openings
    assert kinds == {True, False}


@pytest.mark.parametrize("kind", ObjectiveKind)
def test_events_that_all_weigh_nothing_teach_nothing(
    world: tuple[Dataset, Split], kind: ObjectiveKind
) -> None:
    module, batches = module_and_batches(world, asking(kind=kind))
    batch = replace(batches[0], weight=torch.zeros_like(batches[0].weight))
    loss, weight, _ = module.batch_loss(batch)
    assert (loss.item(), weight.item()) == (0.0, 0.0)
    loss.backward()  # type: ignore[no-untyped-call]
    found = [w.grad for w in module.towers.parameters() if w.grad is not None]
    assert found
    assert all((one == 0).all() for one in found)


@pytest.mark.parametrize("kind", ObjectiveKind)
@pytest.mark.parametrize("from_first", [True, False])
def test_a_batch_of_openings_alone_or_of_none_has_a_finite_loss(
    world: tuple[Dataset, Split], kind: ObjectiveKind, from_first: bool
) -> None:
    module, batches = module_and_batches(world, asking(kind=kind))
    batch = batches[0]
    if from_first:
        # Nothing shown: each window asks for what comes first, and no more.
        nothing = torch.zeros_like(batch.num_shown)
        batch = replace(batch, num_shown=nothing, from_first=torch.ones_like(batch.from_first), longest=0)
    else:
        batch = replace(batch, from_first=torch.zeros_like(batch.from_first))
    loss, weight, _ = module.batch_loss(batch)
    assert torch.isfinite(loss)
    assert loss > 0
    assert weight > 0


@pytest.fixture(scope="module")
def wide_world() -> tuple[Dataset, Split]:
    """280 titles, of which a small batch names few; some are cold, so that seen rows are not all rows."""
    dataset = dataset_from_tables(block_world(20, 14, 3, 8, seed=5, cold_items_per_block=2))
    return dataset, split(dataset, SplitSettings())


SAMPLED = [
    {"kind": kind, "negatives": negatives, "shared": shared, **more}
    for kind in (ObjectiveKind.SAMPLED_SOFTMAX, ObjectiveKind.GBCE)
    for negatives, shared in (
        (NegativeKind.MIXED, True),
        (NegativeKind.IN_BATCH, True),
        (NegativeKind.UNIFORM, False),
        (NegativeKind.POPULARITY, True),
    )
    for more in ({}, {"mask_history": True, "correction": Correction.CLASSIC, "num_targets": 2})
]


@pytest.mark.parametrize("model", [{}, {"num_members": 2}, {"num_interests": 2}], ids=str)
@pytest.mark.parametrize("objective", SAMPLED, ids=str)
def test_a_sample_is_learned_from_without_the_vectors_of_other_titles(
    wide_world: tuple[Dataset, Split], objective: dict[str, Any], model: dict[str, Any]
) -> None:
    settings = asking(**objective, num_negatives=3)
    settings = replace(settings, model=replace(settings.model, **model))
    settings = replace(settings, loader=replace(settings.loader, batch_positions=6))
    module, batches = module_and_batches(wide_world, settings)
    module.eval()
    asked = module.asked_loss
    rows = asked.rows_needed(batches[0], asked.tasks(batches[0], batches[0].questions(1)))
    assert rows is not None
    assert len(rows) < 140
    found = []
    for needed in (asked.rows_needed, lambda batch, tasks: None):
        asked.rows_needed = needed  # type: ignore[method-assign]
        asked.seed(0, 1, 2)
        loss, weight, _ = module.batch_loss(batches[0])
        found.append((loss.detach(), weight, gradients(module, loss)))
    (some, of_some, some_gradients), (every, of_every, every_gradients) = found
    torch.testing.assert_close(some, every)
    torch.testing.assert_close(of_some, of_every)
    assert some_gradients.keys() == every_gradients.keys()
    for name, wanted in every_gradients.items():
        torch.testing.assert_close(some_gradients[name], wanted, rtol=1e-4, atol=1e-6, msg=name)
