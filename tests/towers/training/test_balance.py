"""Weights of profiles and segments, from logs written by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.towers.training.worlds import MANY_STEPS, block_split, nothing_dropped
from tests.worlds import START_SECONDS, block_of
from towers.data.histories import Histories
from towers.data.schema import PROFILES, table
from towers.data.split import HeldOut, Split
from towers.errors import ConfigError
from towers.recommender import Queries
from towers.training.balance import BalanceBy, BalanceSettings, BalanceTo, balanced
from towers.training.fit import fit_towers


def of_lengths(lengths: list[int], num_held: int = 0) -> Split:
    """Profiles of so many train events and `num_held` later ones, all of weight 1."""
    num = np.array(lengths) + num_held
    offset = np.concatenate([[0], np.cumsum(num)])
    row = np.arange(offset[-1]) % 7
    history = Histories(
        offset, row, START_SECONDS + np.arange(offset[-1]), np.full(offset[-1], 90.0, np.float32)
    )
    nothing = Histories.empty(0)
    held = HeldOut(
        np.zeros(0, np.int64),
        nothing,
        np.zeros(0, np.int64),
        np.zeros(0, "<U2"),
        nothing.offset,
        nothing.item_row,
    )
    return Split(history, np.array(lengths), held, held, np.ones(7, np.int64))


def living_in(countries: list[str | None]) -> pa.Table:
    return table(PROFILES, {"profile_id": [f"p{n}" for n in range(len(countries))], "country": countries})


def shares(split: Split, learned: Histories, countries: list[str | None]) -> dict[str | None, float]:
    """Of the weight of all train events, added up one by one."""
    total: dict[str | None, float] = {}
    for profile, country in enumerate(countries):
        begin = int(learned.offset[profile])
        for event in range(begin, begin + int(split.num_train[profile])):
            total[country] = total.get(country, 0.0) + float(learned.weight[event])
    return {country: each / sum(total.values()) for country, each in total.items()}


def test_off_it_is_the_very_log() -> None:
    split = of_lengths([3, 5])
    assert balanced(split, living_in(["KR", "US"]), BalanceSettings()) is split.learned


def test_a_segment_that_watches_half_as_much_gets_the_share_of_its_profiles() -> None:
    countries: list[str | None] = ["KR", "KR", "US", "US"]
    split = of_lengths([2, 4, 6, 6], num_held=2)
    assert shares(split, split.learned, countries) == pytest.approx({"KR": 1 / 3, "US": 2 / 3})
    learned = balanced(split, living_in(countries), BalanceSettings(by=BalanceBy.COUNTRY))
    assert shares(split, learned, countries) == pytest.approx({"KR": 0.5, "US": 0.5})
    # Within a segment everyone is what he was beside the others.
    assert learned.weight[learned.offset[0]] == learned.weight[learned.offset[1]]
    assert np.array_equal(learned.item_row, split.learned.item_row)


def test_parity_counts_segments_and_the_factor_is_bounded() -> None:
    countries: list[str | None] = ["KR", "US", "US", "US"]
    split = of_lengths([2, 6, 6, 6])
    settings = BalanceSettings(by=BalanceBy.COUNTRY, to=BalanceTo.PARITY, max_factor=10.0)
    learned = balanced(split, living_in(countries), settings)
    assert shares(split, learned, countries) == pytest.approx({"KR": 0.5, "US": 0.5})
    bounded = BalanceSettings(by=BalanceBy.COUNTRY, to=BalanceTo.PARITY, max_factor=2.0)
    learned = balanced(split, living_in(countries), bounded)
    assert learned.weight[0] == pytest.approx(2.0)  # 5 times unbounded
    assert learned.weight[2] == pytest.approx(5 / 9)  # half of the weight, of nine tenths


def test_who_does_not_say_a_segment_is_left_as_he_is() -> None:
    countries: list[str | None] = ["KR", None, "US"]
    split = of_lengths([2, 9, 6])
    learned = balanced(split, living_in(countries), BalanceSettings(by=BalanceBy.COUNTRY))
    assert (learned.weight[2:11] == 1.0).all()
    assert learned.weight[:2].sum() == pytest.approx(learned.weight[11:].sum())


def test_no_profile_counts_for_more_than_its_bound() -> None:
    split = of_lengths([2, 100, 0], num_held=3)
    learned = balanced(split, living_in([None] * 3), BalanceSettings(max_profile_weight=20.0))
    assert (learned.weight[:2] == 1.0).all()
    assert learned.weight[5:105].sum() == pytest.approx(20.0)


def test_profiles_are_bounded_before_segments_are_looked_at() -> None:
    countries: list[str | None] = ["KR", "US"]
    split = of_lengths([10, 1000])
    settings = BalanceSettings(by=BalanceBy.COUNTRY, max_profile_weight=20.0, max_factor=4.0)
    learned = balanced(split, living_in(countries), settings)
    assert shares(split, learned, countries) == pytest.approx({"KR": 0.5, "US": 0.5})


def test_a_factor_below_one_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.balance\.max_factor: 0\.5 is out of range"):
        balanced(of_lengths([2]), living_in(["KR"]), BalanceSettings(max_factor=0.5))


def newcomers_order(balance: BalanceSettings, folder: Path) -> np.ndarray:
    """The blocks of the titles shown to whoever has watched nothing, best first; block 0 is watched in KR.

    Its profiles left nearly all they began at a tenth: what they say weighs next to nothing.
    """
    dataset, parts = block_split()
    countries = ["KR" if each == 0 else "US" for each in block_of(np.arange(len(parts.num_train)), 4)]
    place = dataset.profile_table.schema.get_field_index("country")
    table = dataset.profile_table.set_column(place, "country", pa.array(countries))
    of_block = block_of(parts.learned.profile_rows(), 4)
    weight = np.where(of_block == 0, 0.1, 1.0).astype(np.float32)
    parts = replace(parts, learned=replace(parts.learned, weight=weight))
    trainer = replace(MANY_STEPS.trainer, max_epochs=5, checkpoint_steps=None, balance=balance)
    settings = replace(MANY_STEPS, trainer=trainer, model=nothing_dropped(MANY_STEPS.model))
    towers = fit_towers(replace(dataset, profile_table=table), parts, settings, folder)
    exact = towers.exact(towers.encoder.encode(dataset.items))
    asked = Queries(Histories.empty(1), np.array([START_SECONDS]), np.array([""]))
    return block_of(exact.rank(asked, len(dataset.catalogue)).item_row[0], 4)


def test_what_a_planted_segment_watches_is_learned_as_its_share_is_raised(tmp_path: Path) -> None:
    def mean_place(order: np.ndarray) -> float:
        return float(np.flatnonzero(order == 0).mean())

    ignored = newcomers_order(BalanceSettings(), tmp_path / "ignored")
    balance = BalanceSettings(by=BalanceBy.COUNTRY, to=BalanceTo.PARITY, max_factor=30.0)
    raised = newcomers_order(balance, tmp_path / "raised")
    # The last quarter of the list at first; with as much weight as the three others together, the first.
    assert mean_place(ignored) > 0.75 * len(ignored)
    assert mean_place(raised) < 0.25 * len(raised)
