"""Random rule sets over a simulated catalogue: what passes, told in two ways, and complete answers."""

import numpy as np
import pytest

from benchmarks.eligibility_answers import Served, is_complete, num_complete
from benchmarks.eligibility_rules import RandomRules, RawTitles, with_studios
from retrieval.catalogue import Catalogue
from retrieval.eligibility import bitmaps
from retrieval.eligibility.compile import Eligibility
from retrieval.index.build import build_index
from retrieval.index.spec import Geometry, IndexKind, IndexSpec
from tests.retrieval.worlds import histories
from towers.data.sources.simulated import SimulatedSettings, simulate


@pytest.fixture(scope="module")
def served() -> Served:
    world = simulate(SimulatedSettings(num_events=4000, num_profiles=100, num_items=3000))
    items = with_studios(world.tables.items)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((items.num_rows, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Served(
        vectors=vectors,
        index=build_index(IndexSpec(), vectors),
        eligibility=Eligibility(Catalogue(items)),
        titles=RawTitles(items),
        query=rng.standard_normal((50, 16)).astype(np.float32),
        watched=histories(*(rng.integers(3000, size=size).tolist() for size in range(50))),
    )


def test_compiled_rules_and_raw_titles_agree_on_what_passes(served: Served) -> None:
    rules, sizes = RandomRules(served.titles, seed=1), set()
    for _ in range(300):
        rule = rules.draw().rule
        expected = served.titles.passes(rule)
        np.testing.assert_array_equal(served.eligibility.bitmap(rule), bitmaps.from_mask(expected), str(rule))
        sizes.add(int(expected.sum()))
    assert len(sizes) > 100  # rules of every width, not all of them empty


@pytest.mark.parametrize("kind", [IndexKind.PARTITIONED, IndexKind.FLAT])
def test_every_rule_set_is_answered_in_full(served: Served, kind: IndexKind) -> None:
    index = build_index(IndexSpec(kind, geometry=Geometry.ITEMS, stop=1.0), served.vectors)
    asked = Served(served.vectors, index, served.eligibility, served.titles, served.query, served.watched)
    # Fifteen batches, at four depths; one of them of single requests.
    complete, sizes = num_complete(asked, 300, seed=2, batch=20)
    assert complete == 300
    assert min(sizes.values()) > 30


@pytest.mark.parametrize(
    ("row", "complete"),
    [
        ([2, 0, -1], True),
        ([2, -1, -1], False),  # short
        ([2, 2, -1], False),  # twice
        ([2, 1, -1], False),  # not eligible
        ([2, -1, 0], False),  # a gap
        ([-1, 2, 0], False),
        ([2, 0, 1], False),  # more than are eligible
    ],
)
def test_an_answer_that_is_not_complete_is_told(row: list[int], complete: bool) -> None:
    assert is_complete(np.array(row), np.array([True, False, True]), 2) == complete
