"""An evaluation adds up what the metrics say, apart by slice, and rewards no illegal answer."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

from tests.towers.evaluation.questions import Scripted, questions
from towers.data.split import HeldOut
from towers.errors import QueryError
from towers.evaluation.evaluate import Metric, Slice, evaluate
from towers.evaluation.slices import SliceKind, TargetSlice
from towers.recommender import PAD, Degraded, Queries, Rankings

NUM_ITEMS = 10
# Question n has n events of history; the first profile is new.
KNOWN: list[list[int]] = [[], [0], [0, 1], [0, 1, 2]]
TARGETS = [[5], [6, 9], [7], [3, 4]]
# Ranks: 5 at 1; 6 at 2, 9 not shown; 7 not shown; 3 at 3 and 4 at 1.
ANSWERS = [[5, 1, 2], [5, 6, 2], [5, 6, 3], [4, 5, 3]]


@pytest.fixture
def held_out() -> HeldOut:
    return questions(KNOWN, TARGETS)


def test_the_means_are_those_worked_out_by_hand(held_out: HeldOut) -> None:
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3, 1))
    log3 = 1 / math.log2(3)
    assert evaluation.ks == (1, 3)
    assert evaluation.means == pytest.approx(
        {
            "recall@1": (1 + 0 + 0 + 1 / 2) / 4,
            "ndcg@1": (1 + 0 + 0 + 1) / 4,
            "reciprocal_rank@1": (1 + 0 + 0 + 1) / 4,
            "recall@3": (1 + 1 / 2 + 0 + 1) / 4,
            "ndcg@3": (1 + log3 / (1 + log3) + 0 + 1.5 / (1 + log3)) / 4,
            "reciprocal_rank@3": (1 + 1 / 2 + 0 + 1) / 4,
            "average_precision@1": (1 + 0 + 0 + 1) / 4,
            "average_precision@3": (1 + (1 / 2) / 2 + 0 + (1 + 2 / 3) / 2) / 4,
        }
    )
    assert evaluation.coverage == {1: 2 / NUM_ITEMS, 3: 6 / NUM_ITEMS}
    assert evaluation.per_query("recall@3").tolist() == [1.0, 0.5, 0.0, 1.0]


def test_batches_add_up_to_the_whole(held_out: HeldOut) -> None:
    whole = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(2,))
    for batch_size in (1, 3):
        parts = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(2,), batch_size=batch_size)
        assert parts.to_json() == whole.to_json()
        np.testing.assert_array_equal(parts.per_query("ndcg@2"), whole.per_query("ndcg@2"))


def test_new_and_known_profiles_are_counted_apart(held_out: HeldOut) -> None:
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,))
    new, known = evaluation.slices[Slice.NEW_PROFILES], evaluation.slices[Slice.KNOWN_PROFILES]
    assert (new.query.tolist(), new.num_targets) == ([0], 1)
    assert (known.query.tolist(), known.num_targets) == ([1, 2, 3], 5)
    assert new.means["recall@3"] == 1.0
    assert known.means["recall@3"] == pytest.approx((1 / 2 + 0 + 1) / 3)


def test_cold_targets_are_judged_apart_from_seen_ones(held_out: HeldOut) -> None:
    seen = np.ones(NUM_ITEMS, dtype=bool)
    seen[[4, 9]] = False
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,), seen=seen)
    cold, warm = evaluation.slices[Slice.COLD_ITEMS], evaluation.slices[Slice.SEEN_ITEMS]
    # Cold: 9 of question 1 is not shown, 4 of question 3 is first. Of the seen, 3 of question 3 is third.
    assert (cold.query.tolist(), cold.num_targets) == ([1, 3], 2)
    assert evaluation.per_query("ndcg@3", Slice.COLD_ITEMS).tolist() == [0.0, 1.0]
    assert (warm.query.tolist(), warm.num_targets) == ([0, 1, 2, 3], 4)
    assert evaluation.per_query("recall@3", Slice.SEEN_ITEMS).tolist() == [1.0, 1.0, 0.0, 1.0]
    assert evaluation.per_query("ndcg@3", Slice.SEEN_ITEMS)[3] == pytest.approx(0.5)


def test_a_slice_without_questions_has_no_mean(held_out: HeldOut) -> None:
    everything_seen = np.ones(NUM_ITEMS, dtype=bool)
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,), seen=everything_seen)
    assert evaluation.slices[Slice.COLD_ITEMS].means["ndcg@3"] is None
    assert len(evaluation.slices[Slice.COLD_ITEMS].query) == 0


def test_item_slices_need_to_know_what_was_seen(held_out: HeldOut) -> None:
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,))
    with pytest.raises(QueryError, match="slice cold_items was not evaluated"):
        evaluation.per_query("ndcg@3", Slice.COLD_ITEMS)


def test_train_events_tell_what_was_seen_and_how_popular_the_answers_are(held_out: HeldOut) -> None:
    num_watches = np.array([4, 4, 2, 2, 0, 1, 1, 1, 1, 0])
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(1,), num_watches=num_watches)
    assert evaluation.slices[Slice.COLD_ITEMS].num_targets == 2
    # Shown: 5 three times and 4 once. Known profiles are shown 1, 1, 0 events and watched 4, 4, 10/3 before.
    found = evaluation.concentration[1]
    assert found.popularity_lift == pytest.approx((2 / 3) / ((4 + 4 + 10 / 3) / 3))
    assert found.novelty == pytest.approx((3 * math.log2(26 / 2) + math.log2(26)) / 4)
    assert found.gini == pytest.approx((7 * 1 + 9 * 3) / (10 * 4))


def test_a_named_slice_counts_only_its_targets_and_knows_the_rest(held_out: HeldOut) -> None:
    counts = np.array([True, True, False, False, False, True])
    named = TargetSlice(SliceKind.GENRE, "Drama", counts)
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,), slices=(named,))
    found = evaluation.slices["genre=Drama"]
    assert (found.query.tolist(), found.num_targets) == ([0, 1, 3], 3)
    assert evaluation.per_query("recall@3", "genre=Drama").tolist() == [1.0, 1.0, 1.0]
    # The rest: 9 of question 1 and 7 of question 2 not shown, 3 of question 3 third.
    rest = found.rest["recall@3"]
    assert rest.num == 3
    assert [rest.mean, rest.variance] == pytest.approx([1 / 3, 1 / 3])
    assert found.detectable_gap("recall@3") == pytest.approx(2.80159 * math.sqrt((1 / 3) / 3), rel=1e-5)
    assert evaluation.to_json()["slices"]["genre=Drama"]["num_targets"] == 3


def test_the_rank_of_every_target_is_kept(held_out: HeldOut) -> None:
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,))
    assert evaluation.target_rank is not None
    assert evaluation.target_rank.tolist() == [1, 2, 0, 0, 3, 1]


@pytest.mark.parametrize(("num_slices", "num_targets"), [(1, 5), (2, 6)])
def test_slices_of_other_targets_or_of_one_name_are_refused(
    num_slices: int, num_targets: int, held_out: HeldOut
) -> None:
    slices = [TargetSlice(SliceKind.GENRE, "Drama", np.ones(num_targets, dtype=bool))] * num_slices
    with pytest.raises(QueryError, match="slice genre=Drama over"):
        evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,), slices=slices)


def test_a_metric_that_was_not_evaluated_is_refused_by_name(held_out: HeldOut) -> None:
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,))
    with pytest.raises(QueryError, match="ndcg@10 was not evaluated"):
        evaluation.per_query(Metric.NDCG.at(10))


def test_degraded_answers_are_counted_by_reason(held_out: HeldOut) -> None:
    empty = Degraded.EMPTY_HISTORY
    recommender = Scripted(ANSWERS, degraded=(empty, None, Degraded.UNKNOWN_PROFILE, empty))
    evaluation = evaluate(recommender, held_out, num_items=NUM_ITEMS, ks=(3,), batch_size=2)
    assert evaluation.degraded == {"empty_history": 2, "unknown_profile": 1}


def test_a_list_shorter_than_k_is_legal_and_covers_less(held_out: HeldOut) -> None:
    short = [line[:1] for line in ANSWERS]
    evaluation = evaluate(Scripted(short), held_out, num_items=NUM_ITEMS, ks=(3,))
    assert evaluation.means["recall@3"] == pytest.approx((1 + 0 + 0 + 1 / 2) / 4)
    assert evaluation.coverage[3] == 2 / NUM_ITEMS


def test_json_holds_the_numbers_and_nothing_per_profile(held_out: HeldOut) -> None:
    seen = np.ones(NUM_ITEMS, dtype=bool)
    evaluation = evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,), seen=seen)
    read = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert read["recall@3"] == pytest.approx(2.5 / 4)
    assert read["slices"]["known_profiles"]["num_queries"] == 3
    assert read["slices"]["cold_items"]["ndcg@3"] is None
    counts = {"num_queries", "num_items", "degraded", "slices"}
    per_query = {"recall@3", "ndcg@3", "reciprocal_rank@3", "average_precision@3"}
    shown = {"coverage@3", "gini@3", "novelty@3", "popularity_lift@3"}
    assert set(read) == per_query | shown | counts
    assert read["novelty@3"] is None  # nothing is said of train events
    assert read["num_queries"] == 4


@dataclass(frozen=True)
class Answering:
    """Gives the same rows and scores to every question."""

    rows: list[int]
    scores: list[float]

    def rank(self, queries: Queries, k: int) -> Rankings:
        shape = (len(queries), len(self.rows))
        row = np.broadcast_to(np.array(self.rows, dtype=np.int64), shape).copy()
        return Rankings(row, np.broadcast_to(np.array(self.scores, dtype=np.float32), shape).copy())


@pytest.mark.parametrize(
    ("rows", "scores", "fault"),
    [
        ([5, 6], [2, 1], r"shape \(2, 2\); expected \(2, 3\)"),
        ([5, 6, 5], [3, 2, 1], "an item twice, in 2 of 2 answers"),
        ([5, 8, 6], [3, 2, 1], "own history, in 1 of 2 answers"),
        ([5, 10, 6], [3, 2, 1], "outside 0 to 9"),
        ([5, -2, 6], [3, 2, 1], "outside 0 to 9"),
        ([5, PAD, 6], [3, -np.inf, 1], "an item after an empty place"),
        ([5, 6, 7], [3, 1, 2], "a score above the one before it"),
        ([5, 6, 7], [3, np.nan, 2], "scored NaN or -inf"),
        ([5, 6, 7], [3, 2, -np.inf], "scored NaN or -inf"),
        ([5, 6, PAD], [3, 2, 0], "an empty place not scored -inf"),
    ],
)
def test_an_illegal_answer_is_refused_and_its_recommender_named(
    rows: list[int], scores: list[float], fault: str
) -> None:
    held_out = questions([[0, 8], [1]], [[5], [5]])
    with pytest.raises(QueryError, match=f"cheat: .*{fault}"):
        evaluate(Answering(rows, scores), held_out, num_items=NUM_ITEMS, ks=(3,), name="cheat")


def test_the_class_names_a_recommender_that_has_no_other_name(held_out: HeldOut) -> None:
    assert evaluate(Scripted(ANSWERS), held_out, num_items=NUM_ITEMS, ks=(3,)).recommender == "Scripted"


@pytest.mark.parametrize(
    ("known", "targets", "settings", "message"),
    [
        ([], [], {}, "0 questions"),
        ([[0]], [[]], {}, "1 questions have no target"),
        ([[0]], [[10]], {}, "target row 10 is not in the catalogue of 10 items"),
        ([[0]], [[5]], {"ks": ()}, "ks ="),
        ([[0]], [[5]], {"ks": (0,)}, "ks >= 1"),
        ([[0]], [[5]], {"batch_size": 0}, "batch_size = 0"),
        ([[0]], [[5]], {"seen": np.ones(9, dtype=bool)}, "seen has 9 items; expected 10"),
    ],
)
def test_questions_that_cannot_be_judged_are_refused(
    known: list[list[int]],
    targets: list[list[int]],
    settings: dict[str, object],
    message: str,
) -> None:
    asked = {"ks": (3,), **settings}
    with pytest.raises(QueryError, match=message):
        evaluate(Scripted(ANSWERS), questions(known, targets), num_items=NUM_ITEMS, **asked)  # type: ignore[arg-type]
