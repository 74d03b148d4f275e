"""Strata of titles by a column: what is drawn by them from tables written by hand, and a training by them."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.towers.training.modules import fit_cut_off, module_and_batches
from tests.towers.training.worlds import MANY_STEPS, block_split
from towers.data.dataset import Dataset
from towers.data.schema import ITEMS, table
from towers.data.split import Split
from towers.data.titles import Titles
from towers.errors import ConfigError, TrainingError
from towers.objectives.settings import STRATA_COLUMNS, NegativeKind, ObjectiveKind, ObjectiveSettings
from towers.training.fit import fit_towers
from towers.training.settings import FitSettings
from towers.training.strata import title_probability

BY_GENRE = ObjectiveSettings(
    kind=ObjectiveKind.SAMPLED_SOFTMAX,
    temperature=0.1,
    negatives=NegativeKind.STRATIFIED,
    strata="genres",
    num_negatives=8,
)
TITLES: dict[str, list[Any]] = {
    "genres": [["Crime"], ["Crime", "Noir"], ["Noir", "Crime", "Noir"], None, [], ["Crime"], ["Opera"]],
    "language": ["ja", "en", "", None, "en", "en", "fi"],
    "release_year": [1999, 2001, 2001, None, 2001, 2001, 1950],
    "attributes": [[{"name": "mood", "value": mood}] if mood else None for mood in ("odd", *["sad"] * 6)],
}
SEEN = np.array([True] * 6 + [False])
"""The last title is cold; all of its values are its own."""


def items() -> pa.Table:
    names = [f"i{row}" for row in range(len(SEEN))]
    return table(ITEMS, {"item_id": names, "title": names, **TITLES})


def by_hand(members: list[set[str]], power: int) -> list[float]:
    """In fractions: the share of each stratum by its size, and a title's part of it."""
    names = sorted(set().union(*members))
    size = {name: sum(Fraction(1, len(own)) for own in members if name in own) for name in names}
    total = sum(each**power for each in size.values())
    of = {name: each**power / total / each for name, each in size.items()}
    return [float(sum(of[name] / len(own) for name in own)) for own in members]


GENRES = [{"Crime"}, {"Crime", "Noir"}, {"Crime", "Noir"}, {"-"}, {"-"}, {"Crime"}]


@pytest.mark.parametrize(
    ("column", "members"),
    [
        ("genres", GENRES),
        ("language", [{"ja"}, {"en"}, {"-"}, {"-"}, {"en"}, {"en"}]),
        ("release_year", [{"1999"}, {"2001"}, {"2001"}, {"-"}, {"2001"}, {"2001"}]),
        ("attributes.mood", [{"odd"}, *[{"sad"}] * 5]),
    ],
)
@pytest.mark.parametrize("power", [0, 1])
def test_a_stratum_is_drawn_by_its_size_and_then_any_title_of_it(
    column: str, members: list[set[str]], power: int
) -> None:
    objective = replace(BY_GENRE, strata=column, strata_power=float(power))
    found = title_probability(items(), SEEN, objective)
    assert found is not None
    assert found.tolist() == pytest.approx([*by_hand(members, power), 0.0], rel=1e-12)
    if power == 1:
        assert found.tolist() == pytest.approx([1 / 6] * 6 + [0.0], rel=1e-12)


def test_a_title_of_a_small_stratum_comes_more_often() -> None:
    found = title_probability(items(), SEEN, replace(BY_GENRE, strata="language"))
    assert found is not None
    # Japanese, English, and what does not say: a third each.
    assert found.tolist() == pytest.approx([1 / 3, 1 / 9, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 0.0])


def test_without_a_column_there_is_nothing_to_read() -> None:
    assert title_probability(items(), SEEN, replace(BY_GENRE, strata="popularity")) is None


@pytest.mark.parametrize("column", ["countries", "attributes.pace", "language"])
def test_titles_that_are_all_of_one_stratum_are_refused(column: str) -> None:
    seen = np.isin(np.arange(len(SEEN)), [1, 4, 5])
    with pytest.raises(
        ConfigError, match=rf"^objective\.strata: {column}, in which all 3 titles with a train"
    ):
        title_probability(items(), seen, replace(BY_GENRE, strata=column))


def test_every_column_that_may_be_named_is_one_of_the_items_table() -> None:
    assert set(STRATA_COLUMNS) < set(ITEMS.names)


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return block_split()


def learning(**trainer: Any) -> FitSettings:
    return replace(MANY_STEPS, objective=BY_GENRE, trainer=replace(MANY_STEPS.trainer, **trainer))


def test_every_rank_draws_the_same_whatever_its_batch(world: tuple[Dataset, Split]) -> None:
    drawn = []
    for batch_of_rank in (0, 1):
        module, batches = module_and_batches(world, learning())
        module.asked_loss.seed(0, 1, 2)
        batch = batches[batch_of_rank]
        tasks = module.asked_loss.tasks(batch, batch.questions(1))
        drawn.append([one.negatives for task in tasks for one in task.drawn or ()])
    for one, other in zip(*drawn, strict=True):
        assert torch.equal(one.row, other.row)
        assert torch.equal(one.log_weight, other.log_weight)


def test_a_training_by_strata_that_was_cut_off_ends_with_the_weights_of_an_unbroken_one(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    unbroken = fit_towers(*world, learning(max_epochs=2), tmp_path / "unbroken")
    fit_cut_off(world, learning(max_epochs=2), tmp_path / "cut", epoch=1, batch=6)
    resuming = learning(max_epochs=2, resume=True)
    # Titles that say another genre are other negatives.
    dataset, parts = world
    place = ITEMS.get_field_index("genres")
    genres = dataset.items["genres"].to_pylist()
    changed = pa.array([genres[1], *genres[1:]], ITEMS.field(place).type)
    other = replace(dataset, titles=Titles(dataset.items.set_column(place, ITEMS.field(place), changed)))
    for data, settings in (
        (other, resuming),
        (dataset, replace(resuming, objective=replace(BY_GENRE, strata_power=0.5))),
    ):
        with pytest.raises(TrainingError, match="other data, or under other settings"):
            fit_towers(data, parts, settings, tmp_path / "cut")
    resumed = fit_towers(*world, resuming, tmp_path / "cut")
    for (name, one), (_, two) in zip(
        unbroken.state_dict().items(), resumed.state_dict().items(), strict=True
    ):
        assert torch.equal(one, two), name
