"""Inverted lists against a dictionary of sets, with hashes as they are and with poor ones."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.eligibility.hashes import hashes
from retrieval.eligibility.inverted import InvertedLists, folded, invert_lists

NAMES = st.sampled_from(["Ana", "ANA", "Bo", "Straße", "STRASSE", "Ⅸ", "ix", "é", "", "É"])
LISTS = st.lists(st.none() | st.lists(st.none() | NAMES, max_size=4), min_size=1, max_size=12)


def of(cast: list[list[str | None] | None]) -> InvertedLists:
    items = pa.table({"cast": pa.array(cast, pa.list_(pa.string()))})
    return invert_lists(items, "cast", "cast")


def by_name(cast: list[list[str | None] | None]) -> dict[str, set[int]]:
    rows: dict[str, set[int]] = defaultdict(set)
    for row, names in enumerate(cast):
        for name in names or ():
            if name is not None:
                rows[folded(name)].add(row)
    return rows


def check(cast: list[list[str | None] | None]) -> None:
    found, expected = of(cast), by_name(cast)
    assert sorted(found.values.to_pylist()) == sorted(expected)
    for name in ("ana", "BO", "strasse", "IX", "é", "", "nobody"):
        assert set(found.rows([name]).tolist()) == expected.get(folded(name), set())
    assert set(found.rows(["Ana", "Bo"]).tolist()) == expected.get("ana", set()) | expected.get("bo", set())
    assert len(found.rows([])) == 0


@settings(deadline=None)
@given(LISTS)
def test_each_name_has_the_titles_that_have_it_however_it_is_spelled(
    cast: list[list[str | None] | None],
) -> None:
    check(cast)


@settings(deadline=None)
@given(LISTS, st.integers(1, 4))
def test_names_of_one_hash_are_told_apart(cast: list[list[str | None] | None], num: int) -> None:
    def poor(names: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        first, second = hashes(names)
        return first % np.uint64(num), second

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.eligibility.inverted.hashes", poor)
        check(cast)
