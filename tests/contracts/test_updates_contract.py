"""Every kind of index through random adds, removes, saves and searches, held against a dict of vectors."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from retrieval.completion import complete_topk
from retrieval.index.allowed import everything
from retrieval.index.build import build_index, load_index
from retrieval.index.spec import IndexSpec
from retrieval.index.updates import UpdatedIndex
from tests.contracts.indexes import APPROXIMATE, SPECS, name_of
from tests.contracts.test_allowed_contract import allowed_of, vectors_for
from towers.errors import IndexBuildError, QueryError

_SEED = st.integers(0, 2**32 - 1)
_DIM = 4


class Updates(RuleBasedStateMachine):
    """An index, and what must be in it: row → vector."""

    def __init__(self, spec: IndexSpec) -> None:
        super().__init__()
        self.spec = spec

    @initialize(seed=_SEED, num_items=st.integers(1, 60))
    def build(self, seed: int, num_items: int) -> None:
        vectors = vectors_for(self.spec, np.random.default_rng(seed), num_items, _DIM)
        self.index = UpdatedIndex.of(build_index(self.spec, vectors), vectors)
        self.truth = dict(enumerate(vectors))
        self.ever = list(vectors)
        self.before = (self.index, dict(self.truth))

    @rule(seed=_SEED, num=st.integers(0, 12))
    def add(self, seed: int, num: int) -> None:
        self.before = (self.index, dict(self.truth))
        vectors = np.random.default_rng(seed).integers(-3, 4, (num, _DIM)).astype(np.float32)
        first = self.index.num_rows
        self.index = self.index.add(vectors)
        assert self.index.num_rows == len(self.ever) + num == first + num
        self.truth |= dict(enumerate(vectors, first))
        self.ever += list(vectors)

    @rule(seed=_SEED, share=st.sampled_from([0.1, 0.5, 1.0]))
    def remove(self, seed: int, share: float) -> None:
        self.before = (self.index, dict(self.truth))
        rows = np.array(sorted(self.truth), np.int64)
        gone = np.random.default_rng(seed).permutation(rows)[: int(np.ceil(share * len(rows)))]
        self.index = self.index.remove(gone)
        for row in gone.tolist():
            del self.truth[row]

    @rule(of_all=st.booleans())
    def save_and_load(self, of_all: bool) -> None:
        vectors = np.array(self.ever)[: None if of_all else self.index.base.size]
        with tempfile.TemporaryDirectory() as folder:
            self.index.save(Path(folder))
            loaded = load_index(self.spec, Path(folder), vectors)
        assert isinstance(loaded, UpdatedIndex)
        self.index = loaded

    @rule(seed=_SEED, num_queries=st.integers(0, 4), k=st.integers(0, 90))
    def search(self, seed: int, num_queries: int, k: int) -> None:
        query = np.random.default_rng(seed).integers(-3, 4, (num_queries, _DIM)).astype(np.float32)
        for index, truth in ((self.index, self.truth), self.before):
            everywhere = np.ones((num_queries, index.num_rows), bool)
            _assert_answers(self.spec, index, truth, query, everywhere, *index.search(query, k))

    @rule(
        seed=_SEED,
        share=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
        line=st.lists(st.integers(-1, 1), min_size=1, max_size=4),
        num_out=st.integers(0, 40),
        k=st.integers(1, 70),
        num_interests=st.integers(1, 2),
    )
    def search_allowed(
        self, seed: int, share: float, line: list[int], num_out: int, k: int, num_interests: int
    ) -> None:
        rng = np.random.default_rng(seed)
        passes = rng.random((2, self.index.num_rows)) < share
        left_out = rng.integers(0, self.index.num_rows, (len(line), num_out)).tolist()
        allowed, true = allowed_of(passes, line, left_out)
        query = rng.integers(-3, 4, (len(line), num_interests, _DIM)).astype(np.float32)
        answer = complete_topk(self.index, np.array(self.ever), query, k, allowed)
        _assert_answers(self.spec, self.index, self.truth, query, true, *answer)

    @invariant()
    def counts_are_those_of_the_dict(self) -> None:
        assert self.index.size == len(self.truth)
        assert self.index.rows().tolist() == sorted(self.truth)


def _assert_answers(
    spec: IndexSpec,
    index: UpdatedIndex,
    truth: dict[int, np.ndarray],
    query: np.ndarray,
    may: np.ndarray,
    score: np.ndarray,
    row: np.ndarray,
) -> None:
    """Complete, allowed, true scores, best first, ties by row; the best there is where the kind is exact."""
    interests = query if query.ndim == 3 else query[:, None]
    for one in range(len(query)):
        rows = [each for each in sorted(truth) if may[one, each]]
        vectors = np.array([truth[each] for each in rows], np.float64).reshape(-1, _DIM)
        true = dict(zip(rows, (interests[one] @ vectors.T).max(axis=0, initial=-np.inf), strict=True))
        num_filled = min(row.shape[1], len(rows))
        found, found_score = row[one, :num_filled].tolist(), score[one, :num_filled]
        assert (row[one, num_filled:] == -1).all()
        assert (score[one, num_filled:] == -np.inf).all()
        assert len(set(found)) == num_filled
        assert set(found) <= set(true)
        np.testing.assert_allclose(found_score, [true[each] for each in found], rtol=1e-5, atol=1e-5)
        assert sorted(zip((-found_score).tolist(), found, strict=True)) == list(
            zip((-found_score).tolist(), found, strict=True)
        )
        # Added items are found exactly in every kind, and all are in the kinds that are exact.
        sure = {each: true[each] for each in rows if spec.kind not in APPROXIMATE or each >= index.base.size}
        worst = found_score[-1] if num_filled else np.inf
        missed = [each for each in set(sure) - set(found) if sure[each] > worst + 1e-4]
        assert not missed


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_whatever_comes_and_goes_the_answers_are_those_of_what_is_there(spec: IndexSpec) -> None:
    run_state_machine_as_test(
        lambda: Updates(spec),  # type: ignore[arg-type]
        settings=settings(max_examples=20, stateful_step_count=10, deadline=None),
    )


@pytest.fixture(params=SPECS, ids=name_of)
def index(request: pytest.FixtureRequest) -> UpdatedIndex:
    vectors = vectors_for(request.param, np.random.default_rng(1), 50, _DIM)
    return UpdatedIndex.of(build_index(request.param, vectors), vectors)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([3, 50], "1 rows to remove are not there, the first 50"),
        ([-1], "the first -1"),
        ([7, 8], "the first 7"),
        ([3, 4, 3], "some of them twice"),
        ([52, 52], "some of them twice"),
        ([51], "the first 51"),
    ],
)
def test_a_removal_that_cannot_be_done_changes_nothing(
    index: UpdatedIndex, rows: list[int], message: str
) -> None:
    there = index.remove(np.array([7])).add(np.ones((3, _DIM), np.float32)).remove(np.array([50, 51]))
    with pytest.raises(QueryError, match=message):
        there.remove(np.array(rows))
    assert there.rows().tolist() == [row for row in range(50) if row != 7] + [52]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((1, _DIM + 1), np.float32), r"\(1, 5\); expected \(items, 4\)"),
        (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]], np.float32), "1 of 2 vectors are not finite"),
        (np.full((1, _DIM), 1e30, np.float32), "overflow"),
    ],
)
def test_vectors_that_cannot_be_searched_are_not_added(
    index: UpdatedIndex, vectors: np.ndarray, message: str
) -> None:
    with pytest.raises(IndexBuildError, match=message):
        index.add(vectors)
    assert (index.size, index.num_rows) == (50, 50)


def test_queries_are_checked_as_every_index_does(index: UpdatedIndex) -> None:
    changed = index.add(np.ones((2, _DIM), np.float32)).remove(np.arange(5))
    with pytest.raises(QueryError, match="k = -1"):
        changed.search(np.ones((1, _DIM), np.float32), -1)
    with pytest.raises(QueryError, match="expected"):
        changed.search(np.ones((1, _DIM + 1), np.float32), 3)
    with pytest.raises(QueryError, match="not finite"):
        changed.search(np.full((1, _DIM), np.nan, np.float32), 3)
    with pytest.raises(QueryError, match="3 queries"):
        changed.search_allowed(np.ones((3, _DIM), np.float32), 3, everything(2))


def test_when_everything_is_gone_nothing_is_found(index: UpdatedIndex) -> None:
    score, row = index.remove(np.arange(50)).search(np.ones((2, _DIM), np.float32), 5)
    assert (row == -1).all()
    assert (score == -np.inf).all()
