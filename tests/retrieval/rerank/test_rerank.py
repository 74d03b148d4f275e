"""Re-rankers beside brute force, over random candidates."""

import math
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Int64

from retrieval.rerank.calibrated import Calibrated, CalibrationSettings, choose
from retrieval.rerank.diverse import Diverse, DiversitySettings
from retrieval.rerank.rerank import Reranked, Reranker
from retrieval.retriever import Retriever
from tests.retrieval.worlds import items_table, release
from towers.data.histories import Histories
from towers.data.schema import ITEMS, table
from towers.errors import ConfigError
from towers.evaluation.answers import check_answer
from towers.evaluation.calibration import genre_shares, miscalibration, shown_mix, wanted_mix
from towers.recommender import PAD, Queries, Rankings

GENRES = ("Crime", "Comedy", "Drama", "Horror")
ALPHA = 0.01


def catalogue(rng: np.random.Generator, num: int) -> pa.Table:
    genres = [rng.choice(GENRES, rng.integers(0, 4), replace=False).tolist() for _ in range(num)]
    return table(ITEMS, {"item_id": [f"t{n}" for n in range(num)], "title": ["one"] * num, "genres": genres})


def asked(rng: np.random.Generator, num_items: int, lengths: list[int]) -> Queries:
    offset = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    num = int(offset[-1])
    weight = rng.uniform(0.5, 2.0, num).astype(np.float32)
    row = rng.integers(0, num_items, num)
    history = Histories(offset, row, np.zeros(num, np.int64), np.full(num, np.nan, np.float32), weight)
    return Queries(history, np.zeros(len(lengths), np.int64), np.full(len(lengths), ""))


def ranked(rng: np.random.Generator, num_items: int, lengths: list[int], width: int) -> Rankings:
    row = np.full((len(lengths), width), PAD, np.int64)
    score = np.full((len(lengths), width), -np.inf, np.float32)
    for line, num in enumerate(lengths):
        row[line, :num] = rng.permutation(num_items)[:num]
        score[line, :num] = np.sort(rng.normal(size=num))[::-1]
    return Rankings(row, score)


def worth(
    items: pa.Table, queries: Queries, liked: np.ndarray, rows: Int64[np.ndarray, " n"], weight: float
) -> float:
    """The objective of a list, from the definitions alone, in plain Python."""
    genres = [values or ["none"] for values in items["genres"].to_pylist()]
    p: dict[str, float] = {}
    for row, each in zip(queries.history.item_row.tolist(), queries.history.weight.tolist(), strict=True):
        for genre in genres[row]:
            p[genre] = p.get(genre, 0.0) + each / len(genres[row])
    total = sum(p.values())
    divergence = 0.0
    for genre, mass in p.items():
        share = mass / total
        q = sum((genre in genres[row]) / len(genres[row]) for row in rows.tolist()) / len(rows)
        divergence += share * np.log(share / ((1 - ALPHA) * q + ALPHA * share))
    return float((1 - weight) * liked.sum() - weight * divergence)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    weight=st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),
    temperature=st.sampled_from([None, 0.05, 0.7]),
)
def test_every_place_is_the_best_that_brute_force_finds(
    seed: int, weight: float, temperature: float | None
) -> None:
    rng = np.random.default_rng(seed)
    num, k = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    items = catalogue(rng, 12)
    queries, candidates = asked(rng, 12, [int(rng.integers(1, 6))]), ranked(rng, 12, [num], 8)
    shares = genre_shares(items)
    row, score = candidates.item_row[0, :num], candidates.score[0, :num].astype(np.float64)
    liked = {each: 1 / math.log2(number + 2) for number, each in enumerate(row.tolist())}
    if temperature is not None:
        odds = [math.exp((each - score[0]) / temperature) for each in score.tolist()]
        liked = {each: k * own / sum(odds) for each, own in zip(row.tolist(), odds, strict=True)}
    place = np.full((1, min(k, 8)), -1)
    wanted = wanted_mix(queries.history, shares)
    own_worth = np.array([[liked[each] for each in row.tolist()] + [0.0] * (8 - num)])
    choose(candidates.item_row, own_worth, wanted, shares, weight, ALPHA, place)
    taken = place[0][place[0] >= 0]
    assert len(taken) == min(k, num)
    shown = row[taken]
    asked_for = CalibrationSettings(weight, ALPHA, 8, temperature)
    answer = Calibrated(items, asked_for).rerank(queries, candidates, k)
    assert answer.item_row[0, : len(taken)].tolist() == row[np.sort(taken)].tolist()
    assert answer.score[0, : len(taken)].tolist() == candidates.score[0, np.sort(taken)].tolist()

    def worth_of(rows: list[int]) -> float:
        return worth(items, queries, np.array([liked[each] for each in rows]), np.array(rows), weight)

    for step in range(len(shown)):
        before = shown[:step].tolist()
        best = max(worth_of([*before, other]) for other in row.tolist() if other not in before)
        assert worth_of(shown[: step + 1].tolist()) == pytest.approx(best, abs=1e-9)


def test_who_is_sure_of_a_title_keeps_it_and_who_is_not_is_given_the_mix() -> None:
    # The history is all Comedy; the four best candidates are Crime, the two worst Comedy.
    genres = [["Crime"]] * 4 + [["Comedy"]] * 3
    items = table(ITEMS, {"item_id": [f"t{n}" for n in range(7)], "title": ["one"] * 7, "genres": genres})
    history = Histories(
        np.array([0, 1, 2]), np.array([6, 6]), np.zeros(2, np.int64), np.full(2, np.nan, np.float32),
        np.ones(2, np.float32),
    )  # fmt: skip
    queries = Queries(history, np.zeros(2, np.int64), np.full(2, ""))
    row = np.tile(np.arange(6), (2, 1))
    sure, open_ = [2.0, 0.1, 0.1, 0.1, 0.0, 0.0], [0.2, 0.2, 0.1, 0.1, 0.1, 0.1]
    candidates = Rankings(row, np.array([sure, open_], np.float32))
    calibrated = Calibrated(items, CalibrationSettings(0.5, ALPHA, 6, temperature=0.1))
    shown = calibrated.rerank(queries, candidates, 2).item_row
    assert shown[0].tolist() == [0, 4]
    assert shown[1].tolist() == [4, 5]
    # Scores that are no logits of a softmax say nothing of it: places treat both alike.
    by_place = Calibrated(items, CalibrationSettings(0.5, ALPHA, 6)).rerank(queries, candidates, 2).item_row
    assert by_place[0].tolist() == by_place[1].tolist()


def test_the_greedy_list_is_nearly_the_best_of_all_lists() -> None:
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        items = catalogue(rng, 9)
        queries, candidates = asked(rng, 9, [6]), ranked(rng, 9, [9], 9)
        shown = Calibrated(items, CalibrationSettings(1.0, ALPHA, 9)).rerank(queries, candidates, 4)
        shares = genre_shares(items)
        wanted = wanted_mix(queries.history, shares)

        def divergence(rows: np.ndarray, shares: np.ndarray = shares, wanted: np.ndarray = wanted) -> float:
            return float(miscalibration(wanted, shown_mix(rows[None], 4, shares))[0])

        best = min(divergence(np.array(rows)) for rows in combinations(range(9), 4))
        nothing = float(miscalibration(wanted, np.zeros_like(wanted))[0])
        ratios.append((nothing - divergence(shown.item_row[0])) / (nothing - best))
    assert min(ratios) >= 1 - 1 / np.e
    assert np.mean(ratios) > 0.98


def test_without_weight_or_history_the_order_stays() -> None:
    rng = np.random.default_rng(3)
    items, queries = catalogue(rng, 30), asked(rng, 30, [4, 0])
    candidates = ranked(rng, 30, [20, 20], 20)
    kept = Calibrated(items, CalibrationSettings(0.0)).rerank(queries, candidates, 10)
    assert (kept.item_row == candidates.item_row[:, :10]).all()
    moved = Calibrated(items, CalibrationSettings(0.9)).rerank(queries, candidates, 10)
    assert (moved.item_row[1] == candidates.item_row[1, :10]).all()
    assert (moved.item_row[0] != candidates.item_row[0, :10]).any()
    same = Diverse(rng.normal(size=(30, 4)).astype(np.float32), DiversitySettings(0.0))
    assert (same.rerank(queries, candidates, 10).item_row == candidates.item_row[:, :10]).all()


def test_diverse_places_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(25, 5)).astype(np.float32)
    queries, candidates = asked(rng, 25, [3] * 6), ranked(rng, 25, [15, 15, 7, 3, 0, 15], 15)
    shown = Diverse(vectors, DiversitySettings(0.4)).rerank(queries, candidates, 5).item_row
    for line, num in enumerate([15, 15, 7, 3, 0, 15]):
        row = candidates.item_row[line, :num].tolist()
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        taken: list[int] = []
        while len(taken) < min(5, num):
            value = {}
            for number, each in enumerate(row):
                nearest = max((float(unit[each] @ unit[j]) for j in taken), default=0.0)
                value[each] = 0.6 / math.log2(number + 2) - 0.4 * nearest
            taken.append(max((each for each in row if each not in taken), key=lambda each: value[each]))
        assert shown[line][shown[line] != PAD].tolist() == sorted(taken, key=row.index)


class _Fixed:
    """A Recommender of one order, the own history left out."""

    def rank(self, queries: Queries, k: int) -> Rankings:
        row = np.full((len(queries), k), PAD, np.int64)
        score = np.full((len(queries), k), -np.inf, np.float32)
        for line in range(len(queries)):
            own = queries.history.items_of(line)
            left = np.setdiff1d(np.arange(30), own)[:k]
            row[line, : len(left)] = left
            score[line, : len(left)] = -np.arange(len(left))
        return Rankings(row, score)


@pytest.mark.parametrize("name", ["calibrated", "diverse"])
@pytest.mark.parametrize("k", [0, 1, 10, 40])
def test_a_reranked_recommender_keeps_the_contract(name: str, k: int) -> None:
    rng = np.random.default_rng(5)
    reranker: Reranker = (
        Calibrated(catalogue(rng, 30))
        if name == "calibrated"
        else Diverse(rng.normal(size=(30, 4)).astype(np.float32))
    )
    queries = asked(rng, 30, [3, 0, 12])
    answer = Reranked(_Fixed(), reranker).rank(queries, k)
    check_answer(answer, queries, k, num_items=30, name=name)


def test_weights_out_of_range_are_refused() -> None:
    items = catalogue(np.random.default_rng(6), 5)
    with pytest.raises(ConfigError, match=r"calibration\.weight: 1\.5"):
        Calibrated(items, CalibrationSettings(1.5))


def test_a_profile_may_be_answered_by_a_reranker() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    genres = [[GENRES[row % 4]] for row in range(40)]
    made = release(vectors, profiles={"ann": [0, 4, 8]}, items=items_table(40, genres=genres))
    retriever = Retriever(made)
    reranker = Calibrated(retriever.items.table, CalibrationSettings(0.95))
    plain, answer = retriever.recommend("ann", k=8), retriever.recommend("ann", k=8, reranker=reranker)

    def num_crime(item_ids: tuple[str, ...]) -> int:
        return sum("Crime" in retriever.items[item_id].genres for item_id in item_ids)

    # Ann has watched nothing but Crime, of which seven titles are left.
    assert num_crime(plain.item_id) < 5 < num_crime(answer.item_id)
    assert not {"i0", "i4", "i8"} & set(answer.item_id)
    assert answer.score.tolist() == sorted(answer.score.tolist(), reverse=True)
    nobody = retriever.recommend("bob", k=3, reranker=reranker)
    assert nobody.item_id == retriever.recommend("bob", k=3).item_id
