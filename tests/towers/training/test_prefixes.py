"""Vectors that can be cut short: what each member learns, and what each length is worth."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.towers.training.modules import module_and_batches
from tests.towers.training.worlds import MANY_STEPS, block_split, nothing_dropped
from towers.errors import ConfigError
from towers.nets.two_tower import ModelSettings
from towers.objectives.settings import ObjectiveSettings
from towers.recommender import Queries
from towers.training.asked_loss import objectives_of_members
from towers.training.fit import fit_towers
from towers.training.settings import FitSettings

ONE = replace(nothing_dropped(MANY_STEPS.model), dim=16)
TWO = replace(ONE, num_members=2)


def with_prefixes(model: ModelSettings, *dims: int) -> FitSettings:
    return replace(MANY_STEPS, model=model, objective=replace(MANY_STEPS.objective, matryoshka=list(dims)))


@pytest.mark.parametrize(
    ("model", "dims", "of_each"),
    [
        (ONE, [4, 8], [[4, 8, 16]]),
        (ONE, [16], [[16]]),
        (TWO, [2, 4, 16], [[2, 4, 8], [8]]),
        (TWO, [8], [[8], [8]]),
    ],
)
def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_prefixes(
    model: ModelSettings, dims: list[int], of_each: list[list[int]]
) -> None:
    world = block_split()
    module, batches = module_and_batches(world, with_prefixes(model, *dims))
    asked = batches[0].questions(module.objective.num_targets)
    vectors = module.towers.item_vectors(module.items)
    query = module.towers(batches[0], vectors)[asked.position]
    # What one pair of towers learns by, without any prefix.
    alone, _ = module_and_batches(world, with_prefixes(ONE))
    tasks = alone.asked_loss.tasks(batches[0], asked)
    found, losses = module.batch_loss(batches[0])[0], []
    for member, lengths in enumerate(of_each):
        first = member * model.member_dim
        cut = [
            [F.normalize(side[:, first : first + length], dim=1) for side in (query, vectors)]
            for length in lengths
        ]
        of_lengths = [float(alone.asked_loss(alone.towers, tasks, *sides)[0].detach()) for sides in cut]
        losses.append(np.mean(of_lengths))
        assert len({round(one, 4) for one in of_lengths}) == len(lengths)
    assert found.item() == pytest.approx(float(np.mean(losses)), rel=1e-5)


@pytest.mark.parametrize(
    ("model", "dims", "message"),
    [
        (ONE, [8, 32], r"objective\.matryoshka: 32 of vectors of 16 dimensions; expected at most 16$"),
        (TWO, [4, 12], r"objective\.matryoshka: 12 of .* expected at most 8, or whole members of 8$"),
    ],
)
def test_prefixes_that_nothing_learns_are_refused(
    model: ModelSettings, dims: list[int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives_of_members(ObjectiveSettings(matryoshka=dims), model)


def test_a_training_reports_what_each_length_is_worth(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, parts = block_split()
    settings = with_prefixes(ONE, 4, 8)
    with caplog.at_level(logging.INFO):
        towers = fit_towers(dataset, parts, replace(settings, seed=1), tmp_path)
    report = json.loads((tmp_path / "prefix_quality.json").read_text())
    assert [row["dim"] for row in report] == [4, 8, 16]
    assert caplog.text.count("prefix judged dimensions=") == 3
    vectors = torch.from_numpy(towers.embed(towers.encoder.encode(dataset.items)))
    validation = parts.validation
    asked = Queries(validation.history, validation.time_seconds, validation.country)
    query = torch.from_numpy(towers.encode(asked, vectors))
    for row in report:
        q, v = (F.normalize(one[:, : row["dim"]].double(), dim=1) for one in (query, vectors))
        gains = []
        for line in range(len(query)):
            score = v @ q[line]
            score[validation.history.items_of(line)] = -torch.inf
            targets = validation.target_row[
                validation.target_offset[line] : validation.target_offset[line + 1]
            ]
            best = score.argsort(descending=True)[:10].tolist()
            gains.append(np.mean([target in best for target in targets.tolist()]))
        assert row["recall_at_10"] == pytest.approx(np.mean(gains))


def test_without_prefixes_nothing_is_reported(tmp_path: Path) -> None:
    one_epoch = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, max_epochs=1))
    fit_towers(*block_split(), one_epoch, tmp_path)
    assert not (tmp_path / "prefix_quality.json").exists()
