"""The planted worlds hold what they promise to the tests that lean on them."""

import numpy as np
import pytest

from tests.worlds import block_of, block_world
from towers.data.dataset import dataset_from_tables
from towers.data.schema import validate


def test_a_block_world_keeps_to_its_blocks_and_leaves_cold_titles_alone() -> None:
    tables = block_world(3, 10, 20, 6, seed=1, cold_items_per_block=2)
    validate(tables)
    dataset = dataset_from_tables(tables)
    assert (len(dataset.catalogue), len(dataset.profiles)) == (30, 60)
    assert dataset.history.lengths.tolist() == [6] * 60
    profile = dataset.history.profile_rows()
    assert (block_of(dataset.history.item_row, 3) == block_of(profile, 3)).all()
    assert set(dataset.history.item_row.tolist()) == set(range(24))
    genres = tables.items["genres"].to_pylist()
    assert genres == [[f"genre {block}"] for block in block_of(np.arange(30), 3)]


def test_the_order_of_watching_in_a_block_world_is_random_and_seeded() -> None:
    one, same, other = (block_world(2, 8, 5, 8, seed=seed) for seed in (1, 1, 2))
    assert one.events.equals(same.events)
    assert not one.events.equals(other.events)


def test_a_block_without_enough_titles_to_watch_is_refused() -> None:
    with pytest.raises(ValueError, match="6 events a profile and 5 titles"):
        block_world(2, 7, 3, 6, seed=0, cold_items_per_block=2)
