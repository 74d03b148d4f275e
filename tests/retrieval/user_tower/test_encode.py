"""Compiled user towers give what the towers give in torch, whatever they are and whoever asks."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from retrieval.user_tower.encode import CompiledTowers
from tests.worlds import DAY_SECONDS, START_SECONDS
from towers.data.feature_encoder import FeatureEncoder, fit_features
from towers.data.features import Feature, FeatureKind, FeatureSettings
from towers.data.histories import Histories
from towers.data.schema import ITEMS, PROFILES, table
from towers.errors import QueryError
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.nets.user_tower import TimeUse
from towers.recommender import Queries

TOLERANCE = 1e-5
NUM_ITEMS, MAX_HISTORY = 30, 7
LAST_SECONDS = START_SECONDS + 400 * DAY_SECONDS
IDS = Feature("id", FeatureKind.CATEGORICAL, "item_id")
RELEASED = Feature("released", FeatureKind.MOMENT, "released")
KNOWN = [
    Feature("country", FeatureKind.CATEGORICAL, "country"),
    Feature("language", FeatureKind.CATEGORICAL, "language", dimension=2),
    Feature("kids", FeatureKind.CATEGORICAL, "kids"),
    Feature("since", FeatureKind.NUMERIC, "attributes.since"),
]
LANGUAGES, COUNTRIES = ["en", "ko", None], ["GB", "KR", ""]


def profiles_table(rng: np.random.Generator, num: int) -> pa.Table:
    drawn = rng.integers(0, 3, (num, 4))
    since = [
        [{"name": "since", "value": f"{2000 + year}"}] if year else None for year in drawn[:, 3].tolist()
    ]
    return table(
        PROFILES,
        {
            "profile_id": [f"p{row}" for row in range(num)],
            "country": [COUNTRIES[each] or None for each in drawn[:, 0]],
            "language": [LANGUAGES[each] for each in drawn[:, 1]],
            "kids": [(False, True, None)[each] for each in drawn[:, 2]],
            "attributes": since,
        },
    )


def encoder(profiles: list[Feature]) -> FeatureEncoder:
    rng = np.random.default_rng(1)
    released = (START_SECONDS + DAY_SECONDS * rng.integers(0, 300, NUM_ITEMS)) * 1000
    items = table(
        ITEMS,
        {
            "item_id": [f"i{row}" for row in range(NUM_ITEMS)],
            "title": [f"Title {row}" for row in range(NUM_ITEMS)],
            "released": pa.array(released, pa.timestamp("ms", "UTC")),
        },
    )
    return fit_features(items, profiles_table(rng, 60), FeatureSettings([IDS, RELEASED], profiles))


ENCODERS = {"nothing": encoder([]), "country": encoder(KNOWN[:1]), "features": encoder(KNOWN)}


def towers_of(model: ModelSettings, known: str, seed: int) -> TwoTower:
    """Towers whose every weight counts, age and moments included."""
    torch.manual_seed(seed)
    towers = TwoTower.of_span(model, ENCODERS[known], START_SECONDS, LAST_SECONDS).eval()
    for weight in towers.parameters():
        nn.init.normal_(weight, std=0.3)
    return towers


def unit_vectors(num: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def random_queries(seed: int, lengths: list[int], *, known: bool) -> Queries:
    """Events of seconds to years apart, minutes often unknown, asked at the last event or any time later."""
    rng = np.random.default_rng(seed)
    offset = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total, num = int(offset[-1]), len(lengths)
    gap = (2.0 ** rng.uniform(0, 25, total)).astype(np.int64) * rng.integers(0, 2, total)
    seconds = START_SECONDS - 50 * DAY_SECONDS + np.cumsum(gap)
    minutes = rng.uniform(0.0, 200.0, total).astype(np.float32)
    minutes[rng.random(total) < 0.3] = np.nan
    last = np.where(np.diff(offset) > 0, np.append(seconds, 0)[offset[1:] - 1], 0)
    asked = np.maximum(last, START_SECONDS) + (2.0 ** rng.uniform(0, 27, num)).astype(np.int64)
    asked = np.where(rng.random(num) < 0.3, last, asked).astype(np.int64)
    history = Histories(offset, rng.integers(0, NUM_ITEMS, total), seconds, minutes)
    country = np.array([COUNTRIES[each] for each in rng.integers(0, 3, num)], dtype=np.str_)
    return Queries(history, asked, country, profiles_table(rng, num) if known else None)


@st.composite
def models(draw: st.DrawFn) -> ModelSettings:
    num_heads = draw(st.sampled_from([1, 2, 3]))
    num_members = draw(st.sampled_from([1, 2, 3]))
    return ModelSettings(
        dim=2 * num_heads * num_members * draw(st.integers(2, 6)),
        num_members=num_members,
        num_interests=draw(st.sampled_from([1, 2, 5])) if num_members == 1 else 1,
        num_layers=draw(st.integers(1, 3)),
        num_heads=num_heads,
        max_history=draw(st.integers(2, 9)),
        time=draw(st.sampled_from(list(TimeUse))),
        moment_days=draw(st.sampled_from([0.0, 30.0, 1000.0])),
        age_share=draw(st.sampled_from([0.0, 0.25, 0.5])),
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    model=models(),
    known=st.sampled_from(list(ENCODERS)),
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    seed=st.integers(0, 2**16),
)
def test_compiled_towers_give_what_the_towers_give(
    model: ModelSettings, known: str, lengths: list[int], seed: int
) -> None:
    towers = towers_of(model, known, seed)
    item = unit_vectors(NUM_ITEMS, model.dim, seed)
    queries = random_queries(seed, lengths, known=seed % 4 != 0)
    expected = towers.encode(queries, torch.from_numpy(item))
    compiled = CompiledTowers(towers, item)
    np.testing.assert_allclose(compiled.encode(queries), expected, rtol=0, atol=TOLERANCE)
    for line in range(len(queries)):
        one = queries.select(np.array([line]))
        for _ in range(2):  # the second time with the start token kept of the first
            np.testing.assert_allclose(
                compiled.encode(one), expected[line : line + 1], rtol=0, atol=TOLERANCE
            )


def test_a_batch_on_several_threads_is_its_queries_one_by_one() -> None:
    model = ModelSettings(dim=16, max_history=MAX_HISTORY)
    item = unit_vectors(NUM_ITEMS, 16, 0)
    compiled = CompiledTowers(towers_of(model, "features", 0), item)
    queries = random_queries(0, np.random.default_rng(0).integers(0, 12, 100).tolist(), known=True)
    alone = [compiled.encode(queries.select(np.array([line])))[0] for line in range(len(queries))]
    np.testing.assert_allclose(compiled.encode(queries), np.array(alone), rtol=0, atol=1e-6)


def test_events_before_those_that_are_read_change_nothing() -> None:
    model = ModelSettings(dim=16, max_history=MAX_HISTORY)
    compiled = CompiledTowers(towers_of(model, "country", 0), unit_vectors(NUM_ITEMS, 16, 0))
    queries = random_queries(3, [40], known=False)
    short = replace(queries, history=queries.history.last(MAX_HISTORY))
    np.testing.assert_array_equal(compiled.encode(queries), compiled.encode(short))
    shorter = replace(queries, history=queries.history.last(MAX_HISTORY - 1))
    assert np.abs(compiled.encode(queries) - compiled.encode(shorter)).max() > 1e-3


@pytest.mark.parametrize("row", [-1, NUM_ITEMS])
def test_a_history_of_what_is_no_item_is_refused(row: int) -> None:
    compiled = CompiledTowers(towers_of(ModelSettings(dim=16), "nothing", 0), unit_vectors(NUM_ITEMS, 16, 0))
    queries = random_queries(0, [3, 4], known=False)
    queries.history.item_row[5] = row
    with pytest.raises(QueryError, match="query 1 names an item outside of the 30"):
        compiled.encode(queries)


def test_no_queries_have_no_vectors() -> None:
    towers = towers_of(ModelSettings(dim=16, num_interests=3), "features", 0)
    compiled = CompiledTowers(towers, unit_vectors(NUM_ITEMS, 16, 0))
    assert compiled.encode(random_queries(0, [], known=True)).shape == (0, 3, 16)
