"""The query tower learns: what texts are for, what a profile adds, and nothing of what is held out."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.worlds import START_SECONDS, block_of, block_world
from towers.data.asked_texts import encode_texts
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.schema import QUERIES, TIME, table
from towers.data.split import Split, SplitSettings, split
from towers.nets.query_tower import QueryTower, QueryTowerSettings, TextTensors
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.query_examples import NOBODY, examples
from towers.training.query_fit import fit_query_tower
from towers.training.query_settings import QueryFitSettings

BLOCKS = 4
SETTINGS = QueryFitSettings(
    QueryTowerSettings(buckets=4096), epochs=8, texts_per_title=40, batch=64, learning_rate=1e-2
)
WORLD = block_world(BLOCKS, 12, 6, 8, seed=0)


def log_of(*rows: tuple[str | None, str, int, str | None]) -> pa.Table:
    """Searches: profile, text, seconds after the log began, what was played."""
    profile, text, second, item = zip(*rows, strict=True) if rows else ((), (), (), ())
    time = pa.array([1000 * (START_SECONDS + one) for one in second], TIME)
    return table(
        QUERIES, {"profile_id": list(profile), "text": list(text), "time": time, "item_id": list(item)}
    )


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split, TwoTower]:
    dataset = dataset_from_tables(WORLD)
    parts = split(dataset, SplitSettings())
    torch.manual_seed(0)
    towers = TwoTower(ModelSettings(dim=16), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    return dataset, parts, towers.eval()


def vectors(tower: QueryTower, *texts: str) -> np.ndarray:
    settings = tower.settings
    with torch.inference_mode():
        read = TextTensors.of(encode_texts(list(texts), settings.buckets, settings.max_words))
        found: np.ndarray = tower(read)[0].numpy()
    return found


def test_texts_find_the_titles_that_they_are_for(world: tuple[Dataset, Split, TwoTower]) -> None:
    dataset, parts, towers = world
    weights = {name: value.clone() for name, value in towers.state_dict().items()}
    # A word of no title, which only the log ties to block 2.
    searches = [(None, "zanzibar", 0, f"i{row}") for row in range(2, 48, BLOCKS)]
    tower = fit_query_tower(towers, dataset, parts, log_of(*searches), SETTINGS, seed=0)
    assert tower is not None
    item = towers.embed(towers.encoder.encode(dataset.items))
    # The genre of each block, the same mistyped, and the word of the log.
    for text, block in [*((f"genre {one}", one) for one in range(BLOCKS)), ("zanzibar", 2), ("zanzibra", 2)]:
        best = np.argsort(-(vectors(tower, text) @ item.T)[0])[:12]
        # By chance a quarter; the towers were never trained, so that metadata alone places the titles.
        assert (block_of(best, BLOCKS) == block).mean() >= 0.75, text
    for name, value in towers.state_dict().items():  # what is frozen stays as it is
        assert torch.equal(value, weights[name])


def test_the_same_seed_gives_the_same_tower(world: tuple[Dataset, Split, TwoTower]) -> None:
    dataset, parts, towers = world
    short = replace(SETTINGS, epochs=1, texts_per_title=5)
    found = [fit_query_tower(towers, dataset, parts, log_of(), short, seed) for seed in (0, 0, 1)]
    one, again, other = (vectors(tower, "title 3") for tower in found if tower is not None)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_without_epochs_there_is_none(world: tuple[Dataset, Split, TwoTower]) -> None:
    dataset, parts, towers = world
    assert fit_query_tower(towers, dataset, parts, log_of(), replace(SETTINGS, epochs=0), 0) is None


def test_only_searches_of_the_train_part_are_learned_from(world: tuple[Dataset, Split, TwoTower]) -> None:
    dataset, parts, _ = world
    ids, history = dataset.catalogue.ids, dataset.history
    first, held = (ids[int(history.items_of(0)[place])] for place in (0, -1))
    begun, last = (int(history.of(0).time_seconds[place]) - START_SECONDS for place in (0, -1))
    profile = dataset.profiles.ids[0]
    given = examples(
        dataset,
        parts,
        log_of(
            (profile, "kept", begun - 60, first),
            (profile, "of what is held out", last - 60, held),
            (profile, "again, after what is held out", last + 60, first),
            (profile, "nothing came of it", begun, None),
            ("a stranger", "whose?", begun, first),
            (None, "of nobody", begun, first),
            (None, "!?", begun, first),
        ),
        replace(SETTINGS, min_profiles=1),
        seed=0,
    )
    assert given.texts[: given.num_logged] == ["kept", "of nobody"]
    assert given.asker[:2].tolist() == [0, NOBODY]
    assert given.item_row[:2].tolist() == [dataset.catalogue.row(first)] * 2
    assert len(given.questions.history.items_of(0)) == 0  # asked before anything was watched


def test_what_too_few_profiles_searched_for_is_not_learned_from(
    world: tuple[Dataset, Split, TwoTower],
) -> None:
    dataset, parts, _ = world
    rows: list[tuple[str | None, str, int, str | None]] = []
    for profile in range(3):
        item = dataset.catalogue.ids[int(dataset.history.items_of(profile)[0])]
        second = int(dataset.history.of(profile).time_seconds[0]) - START_SECONDS - 60
        rows.append((dataset.profiles.ids[profile], ("Shared", "shared!", "SHARED")[profile], second, item))
        rows += [
            (dataset.profiles.ids[profile], f"own {min(profile, 1)}", second - step, item) for step in (1, 2)
        ]
    given = examples(dataset, parts, log_of(*rows), replace(SETTINGS, min_profiles=3), seed=0)
    assert given.texts[: given.num_logged] == ["shared"] * 3


def test_who_asks_knows_what_came_before_and_nothing_else(world: tuple[Dataset, Split, TwoTower]) -> None:
    dataset, parts, _ = world
    given = examples(dataset, parts, log_of(), SETTINGS, seed=1)
    asked = np.flatnonzero(given.asker != NOBODY)
    assert len(asked) > 100
    for place in asked.tolist():
        line = int(given.asker[place])
        seen = given.questions.history.items_of(line)
        assert given.item_row[place] not in seen
        assert (given.questions.history.of(line).time_seconds < given.questions.time_seconds[line]).all()
    held = set(zip(parts.test.profile_row.tolist(), parts.test.target_row.tolist(), strict=True))
    names = dataset.profile_table["profile_id"].to_pylist()
    who = [names.index(one) for one in given.questions.profiles["profile_id"].to_pylist()]  # type: ignore[index]
    assert not held & {(who[int(given.asker[one])], int(given.item_row[one])) for one in asked}
