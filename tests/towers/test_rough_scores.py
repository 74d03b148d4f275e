"""Pairs that reach a score, told by rounded vectors, are those that the vectors as they are tell."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from towers import rough_scores, topk
from towers.rough_scores import rough_pairs


def by_definition(query: Tensor, item: Tensor, least: Tensor) -> tuple[set[tuple[int, int]], Tensor]:
    """The pairs that reach it, in float64, and how far each pair is from it."""
    far = query.double() @ item.double().T - least.double()[:, None]
    return set(map(tuple, torch.nonzero(far >= 0).tolist())), far


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_items=st.integers(1, 400),
    width=st.sampled_from([1, 3, 64, 129]),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    block=st.sampled_from([1, 64, 1 << 20]),
)
def test_pairs_are_those_of_the_exact_scores(
    seed: int, num_items: int, width: int, scale: float, block: int
) -> None:
    rng = np.random.default_rng(seed)
    query, item = (
        torch.from_numpy((rng.standard_normal((num, width)) * scale).astype(np.float32))
        for num in (7, num_items)
    )
    # Some score what is asked, and some of these by no more than a last bit.
    least = (query @ item.T).quantile(0.8, dim=1)
    least[0] = (query[0] @ item.T).max()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rough_scores, "_CACHED_SCORES", block * len(query))
        patched.setattr(rough_scores, "_MAX_PAIRS", 11)
        found = rough_pairs(query, item, least, query.shape[0] * num_items)
    assert found is not None
    expected, far = by_definition(query, item, least)
    pairs = list(zip(found.query.tolist(), found.item.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    slack = 1e-6 * (query.double().abs() @ item.double().abs().T)
    for line, row in expected ^ set(pairs):
        assert abs(far[line, row]) <= slack[line, row]  # a sum in another order
    if pairs:
        scores = (query.double() @ item.double().T)[found.query, found.item]
        torch.testing.assert_close(found.score.double(), scores, rtol=1e-4, atol=float(slack.max()))
    for line in range(len(query)):
        own = found.item[found.query == line].tolist()
        assert own == sorted(own)


def test_what_is_lost_by_rounding_is_found_all_the_same() -> None:
    """Numbers that lie half between two of bfloat16: rounded, the score is as far below as it can be."""
    step, width = 2.0**-7, 257  # of ones the score is 257, which is rounded to 256
    item = torch.full((200, width), 1.0 + step / 2)  # to even: down to 1
    query = torch.full((40, width), 1.0 + step / 2)
    score = (query[0] * item[0]).sum()
    assert (query.bfloat16() @ item.bfloat16().T).max() < 0.989 * score
    found = rough_pairs(query, item, torch.full((40,), float(score)), 8000)
    assert found is not None
    assert len(found.score) == 8000


@pytest.mark.parametrize(
    ("which", "bad"),
    [(which, bad) for which in ("query", "item") for bad in (torch.nan, torch.inf, 1e30)] + [("query", 0.0)],
)
def test_vectors_that_rounding_tells_nothing_of_are_left_to_exact_scores(which: str, bad: float) -> None:
    made = {"query": torch.ones(40, 8), "item": torch.ones(100, 8)}
    made[which][3] = bad
    assert rough_pairs(made["query"], made["item"], torch.ones(40), 4000) is None
    assert rough_pairs(torch.ones(40, 8), torch.zeros(100, 8), torch.ones(40), 4000) is None


def test_more_pairs_than_are_few_are_none() -> None:
    query, item = torch.ones(40, 8), torch.ones(100, 8)
    assert rough_pairs(query, item, torch.full((40,), 8.0), 3999) is None
    assert rough_pairs(query, item, torch.full((40,), 9.0), 3999) is not None


@pytest.mark.parametrize("is_fast", [True, False])
def test_both_ways_give_one_answer(is_fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    query = torch.from_numpy(rng.standard_normal((50, 32)).astype(np.float32))
    item = torch.from_numpy(rng.standard_normal((3000, 32)).astype(np.float32))
    score, row = topk.topk(query, item, 20)
    monkeypatch.setattr(topk, "is_fast", lambda *vectors: is_fast)
    found = topk.topk_from(query, item, 20, score[:, -1] - 1e-5)
    assert found is not None
    torch.testing.assert_close(found[0], score)
    assert (found[1] == row).float().mean() > 0.999  # equals but for a last bit may change places


def test_where_rounding_tells_too_little_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many items just below the bound: too many for the rounded scores, few for the exact ones."""
    query = torch.ones(40, 4)
    item = torch.full((4000, 4), 0.999)
    item[::400] = 1.0
    monkeypatch.setattr(topk, "is_fast", lambda *vectors: True)
    found = topk.topk_from(query, item, 2, torch.full((40,), 4.0))
    assert found is not None
    assert found[1].tolist() == [[0, 400]] * 40
