"""Membership attacks: known areas, honest intervals, and a model that knows its members by heart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from tests.worlds import block_world
from towers.audit.membership import area, attack, audit_membership, history_scores
from towers.data.dataset import dataset_from_tables
from towers.data.histories import Histories
from towers.errors import QueryError
from towers.evaluation.exact import ExactRecommender
from towers.recommender import Queries


def by_heart(learned: Histories, num_items: int) -> ExactRecommender:
    """A model that names the next title of a history that it has seen, and nothing of any other."""
    known = {
        tuple(learned.items_of(profile)[:place].tolist()): learned.items_of(profile)[place]
        for profile in range(len(learned))
        for place in range(1, int(learned.lengths[profile]))
    }

    def encode(queries: Queries) -> np.ndarray:
        query = np.full((len(queries), num_items), num_items**-0.5, np.float32)
        for line in range(len(queries)):
            seen = known.get(tuple(queries.history.items_of(line).tolist()))
            if seen is not None:
                query[line] = np.eye(num_items, dtype=np.float32)[seen]
        return query

    return ExactRecommender(encode, np.eye(num_items, dtype=np.float32))


few = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=30)


@given(member=few, other=few)
def test_the_area_is_that_of_scikit_learn(member: list[float], other: list[float]) -> None:
    truth = np.repeat([1, 0], [len(member), len(other)])
    auc, low, high = area(np.array(member), np.array(other))
    assert auc == pytest.approx(roc_auc_score(truth, [*member, *other]))
    assert low <= auc <= high


def test_the_true_positives_are_those_at_one_per_cent_of_false_ones() -> None:
    rng = np.random.default_rng(0)
    member, other = rng.normal(1.0, 1.0, 800), rng.normal(0.0, 1.0, 1000)
    truth = np.repeat([1, 0], [800, 1000])
    fpr, tpr, _ = roc_curve(truth, np.concatenate([member, other]), drop_intermediate=False)
    found = attack(member, other)
    assert found.tpr == pytest.approx(tpr[fpr <= 0.01].max())
    assert found.tpr_low < found.tpr < found.tpr_high


def test_intervals_hold_what_they_promise() -> None:
    # N(d, 1) against N(0, 1): the area is Phi(d / sqrt 2), for d = 0.5 .6382.
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        _, low, high = area(rng.normal(0.5, 1.0, 150), rng.normal(0.0, 1.0, 150))
        held += low <= 0.63817 <= high
    assert 182 <= held <= 198  # of 200 at 95 %


def test_the_strongest_attack_counts() -> None:
    rng = np.random.default_rng(2)
    is_member = np.arange(400) % 2 == 0
    blind = rng.normal(size=400)
    report = audit_membership({"blind": blind}, is_member)
    assert not report.leaks
    report = audit_membership({"blind": blind, "seeing": blind + 3.0 * is_member}, is_member)
    assert report.leaks
    assert report.auc_upper > 0.9
    assert not report.passes(0.55)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(QueryError, match="2 members and 1 others"):
        attack(np.array([0.0, 1.0]), np.array([0.0]))
    with pytest.raises(QueryError, match="finite"):
        attack(np.array([0.0, np.nan]), np.array([0.0, 1.0]))


def test_a_model_that_knows_its_members_by_heart_is_found_out() -> None:
    dataset = dataset_from_tables(block_world(2, 10, 40, 6, seed=1))
    history, num_items = dataset.history, len(dataset.catalogue)
    is_member = np.arange(len(history)) % 4 < 2
    model = by_heart(history.first(np.where(is_member, history.lengths, 0)), num_items)
    watches = np.bincount(history.item_row, minlength=num_items)
    scores = history_scores(model, dataset, history, watches, temperature=0.1)
    report = audit_membership(scores, is_member)
    assert set(report.attacks) == {"loss", "harder than it looks", "rank"}
    assert report.attacks["loss"].auc_low > 0.9
    assert report.leaks

    blind = ExactRecommender(
        lambda q: np.full((len(q), num_items), num_items**-0.5, np.float32), model.item_vectors
    )
    scores = history_scores(blind, dataset, history, watches, temperature=0.1)
    assert np.allclose(scores["loss"], -np.log(num_items))
    assert not audit_membership(scores, is_member).leaks
