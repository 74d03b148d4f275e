from unittest import mock

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.objectives.drawn import Positions, positions, same, scores
from towers.objectives import chunked
from towers.objectives.multi_interest import handicaps, max_softmax, routed_to_target
from towers.objectives.softmax import full_softmax


@given(
    num=st.integers(1, 5),
    items=st.integers(1, 8),
    interests=st.integers(1, 4),
    targets=st.integers(1, 3),
    chunk=st.integers(1, 60),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=50)
def test_the_softmax_of_the_best_interest_equals_its_formula(
    num: int, items: int, interests: int, targets: int, chunk: int, seed: int
) -> None:
    at = positions(seed, num=num, items=items, dim=3, targets=targets, interests=interests)
    expected = torch.zeros((), dtype=torch.float64)
    for p in range(num):
        score = scores(at.query[p], at.item, 0.3)
        for t, row in enumerate(at.target[p].tolist()):
            if row >= 0:
                expected = expected + at.weight[p, t] * (torch.logsumexp(score, 0) - score[row])
    with mock.patch.dict(chunked._CHUNK_NUMBERS, {False: chunk}):
        found = max_softmax(at.query, at.item, at.target, at.weight, temperature=0.3)
        same(found, expected / at.weight.sum(), at)


def test_one_interest_is_an_ordinary_query() -> None:
    at = positions(1, num=4, items=6, dim=3, targets=2, interests=1)
    single = full_softmax(at.query[:, 0], at.item, at.target, at.weight, temperature=0.4)
    same(max_softmax(at.query, at.item, at.target, at.weight, temperature=0.4), single, at)


def test_each_target_is_learned_by_the_interest_that_scores_it_best() -> None:
    at = positions(2, num=5, items=6, dim=3, targets=3, interests=4)
    chosen = routed_to_target(at.query, at.item, at.target)
    for p in range(5):
        for t, row in enumerate(at.target[p].tolist()):
            if row >= 0:
                of_each = [float((at.query[p, k] @ at.item[row]).detach()) for k in range(4)]
                best = of_each.index(max(of_each))
                assert torch.equal(chosen[p, t], at.query[p, best])


def test_an_interest_that_no_target_chose_has_no_gradient() -> None:
    query = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64, requires_grad=True)
    item = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64, requires_grad=True)
    at = Positions(query, item, torch.tensor([[0]]), torch.ones(1, 1, dtype=torch.float64))
    routed = routed_to_target(at.query, at.item, at.target).flatten(0, 1)
    (grad,) = torch.autograd.grad(full_softmax(routed, item, at.target, at.weight, temperature=0.5), query)
    assert grad[0, 0].any()
    assert not grad[0, 1].any()


@given(num=st.integers(1, 40), interests=st.integers(1, 5), seed=st.integers(0, 2**16))
@settings(max_examples=50)
def test_under_their_handicaps_all_interests_have_an_even_share_of_the_targets(
    num: int, interests: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    score = torch.rand(num, interests, generator=generator, dtype=torch.float64)
    score += torch.rand(interests, generator=generator, dtype=torch.float64)
    share = torch.softmax((score - handicaps(score, 0.2)) / 0.2, 1).mean(0)
    torch.testing.assert_close(share, torch.full_like(share, 1 / interests), atol=0.02, rtol=0)


def test_a_handicap_is_what_halves_the_targets_of_two_interests() -> None:
    # Each target prefers the first interest, by 0.1, 0.2, 0.4 and 0.5; half of them by more than 0.3.
    score = torch.tensor([[0.5, 0.4], [0.6, 0.4], [0.4, 0.0], [0.5, 0.0]])
    of_each = handicaps(score, 0.05)
    assert abs(float(of_each[0] - of_each[1]) - 0.3) < 0.02
    query = torch.eye(2).expand(4, 2, 2)
    target = torch.arange(4)[:, None]
    assert routed_to_target(query, score, target)[:, 0, 0].tolist() == [1, 1, 1, 1]
    assert routed_to_target(query, score, target, temperature=0.05)[:, 0, 0].tolist() == [0, 0, 1, 1]


def test_where_no_target_is_asked_for_none_is_routed() -> None:
    query, item = torch.ones(2, 3, 4), torch.ones(5, 4)
    target = torch.full((2, 1), -1)
    assert routed_to_target(query, item, target, temperature=0.1).shape == (2, 1, 4)
