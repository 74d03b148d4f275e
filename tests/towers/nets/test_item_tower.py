"""The item tower over texts, billings and vectors: sums by hand, and cold titles of planted worlds."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from towers.data.days import SECONDS_PER_DAY
from towers.data.encoders import TableEncoder, fit_table
from towers.data.feature_encoder import FeatureEncoder
from towers.data.features import Feature, FeatureKind, RowRule
from towers.data.schema import ITEMS, PROFILES, TIME, table
from towers.nets.ages import Ticks
from towers.nets.feature_tables import FeatureTable
from towers.nets.item_tower import ItemFeatureTensors, ItemTower
from towers.nets.parts import in_parts
from towers.nets.title_bags import TitleBags

NOBODY = fit_table((), table(PROFILES, {}))
ID = Feature("id", FeatureKind.CATEGORICAL, "item_id")
LANGUAGE = Feature("language", FeatureKind.CATEGORICAL, "language")
CAST = Feature("cast", FeatureKind.MULTI, "cast")
BILLING = Feature("billing", FeatureKind.ORDERED, "cast", dimension=4)
TITLE = Feature("words", FeatureKind.TEXT, "title", RowRule.HASHING, buckets=512)
RATING = Feature("rating", FeatureKind.NUMERIC, "rating")
STILL = Feature("still", FeatureKind.VECTOR, "embedding")
RELEASED = Feature("released", FeatureKind.MOMENT, "released")
ALL = (ID, LANGUAGE, CAST, BILLING, TITLE, RATING, STILL)
TODAY = 1_700_000_000
AGES = Ticks(TODAY, TODAY + 30 * SECONDS_PER_DAY, 3)


def catalogue(num_items: int = 40) -> pa.Table:
    rng = np.random.default_rng(3)
    some = [None, 2.0, 4.0, 5.0]
    return table(
        ITEMS,
        {
            "item_id": [f"i{row:02}" for row in range(num_items)],
            "title": [f"the {'abcdefgh'[row % 8] * 4} {row}" for row in range(num_items)],
            "language": [("en", None, "fr")[row % 3] for row in range(num_items)],
            "cast": [[f"p{n}" for n in rng.integers(0, 9, rng.integers(0, 4))] for _ in range(num_items)],
            "rating": [some[row % 4] for row in range(num_items)],
            "embedding": [None if row % 5 == 0 else [row / 9, row % 7, 1.0] for row in range(num_items)],
            "released": pa.array(
                [None if row % 3 == 0 else 1000 * (TODAY + row * 86_400) for row in range(num_items)], TIME
            ),
        },
    )


def tensors(encoder: TableEncoder, items: pa.Table) -> ItemFeatureTensors:
    return ItemFeatureTensors(FeatureEncoder(encoder, NOBODY).encode(items))


def tower_of(encoder: TableEncoder, dim: int = 8, *, ages: Ticks | None = None, **shares: float) -> ItemTower:
    torch.manual_seed(0)
    tower = ItemTower(encoder, dim, dropout=0.0, ages=ages, **{"id_dropout": 0.0} | shares)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # row 0 and the norms too, so that nothing is left out
    return tower


def gradients(tower: ItemTower, vectors: Tensor) -> list[Tensor]:
    weight = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1), dtype=vectors.dtype)
    return list(torch.autograd.grad((vectors * weight).sum(), list(tower.parameters())))


@pytest.mark.parametrize("num_rows", [1, 7, 50])
def test_the_gradient_of_weighted_sums_is_that_of_the_sum_written_out(num_rows: int) -> None:
    rng = np.random.default_rng(num_rows)
    size = rng.integers(0, 5, 30)
    offset = torch.from_numpy(np.concatenate([[0], np.cumsum(size)]))
    row = torch.from_numpy(rng.integers(0, num_rows, int(size.sum())))
    weight = torch.from_numpy(rng.random(len(row)).astype(np.float32))
    held = torch.randn(num_rows, 6, dtype=torch.float64, requires_grad=True)
    bags = TitleBags(offset, row, weight, offset.numpy())
    title = torch.repeat_interleave(torch.from_numpy(size))
    dense = torch.zeros(30, num_rows, dtype=torch.float64).index_put_((title, row), weight.double(), True)
    torch.testing.assert_close(bags.sums(held), dense @ held)
    seed = torch.randn(30, 6, dtype=torch.float64)
    for _ in range(2):  # the second time from what the first worked out
        torch.testing.assert_close(torch.autograd.grad(bags.sums(held), held, seed)[0], dense.T @ seed)


@pytest.mark.parametrize("ages", [None, AGES], ids=["no ages", "ages"])
@pytest.mark.parametrize("size", [1, 7, 40, 64])
def test_a_catalogue_in_parts_has_the_vectors_and_gradients_of_one_pass(
    size: int, ages: Ticks | None
) -> None:
    encoder = fit_table((*ALL, RELEASED), catalogue())
    tower, items = tower_of(encoder, ages=ages).eval(), tensors(encoder, catalogue())
    whole = tower(items)
    parts = [items.part(start, start + size) for start in range(0, items.num_items, size)]
    assert sum(part.num_items for part in parts) == 40
    cpu = torch.device("cpu")
    ways = [
        torch.cat([tower(part) for part in parts]),
        torch.cat(in_parts(tower, parts, cpu)),
        torch.cat(in_parts(tower.refined, torch.split(tower.summed(items), size), cpu)),
    ]
    expected = gradients(tower, whole)
    for vectors in ways:
        torch.testing.assert_close(vectors, whole, rtol=0.0, atol=1e-6)
        for found, wanted in zip(gradients(tower, vectors), expected, strict=True):
            assert (found - wanted).abs().max() <= 1e-6 * max(1.0, float(wanted.abs().max()))


def test_a_part_of_a_part_is_the_same_titles_and_the_whole_stays_whole() -> None:
    encoder = fit_table(ALL, catalogue())
    tower, items = tower_of(encoder).eval(), tensors(encoder, catalogue())
    torch.testing.assert_close(tower(items.part(10, 30).part(5, 12)), tower(items)[15:22])
    assert tower(items).shape == (40, 8)
    assert not items.state_dict()


def test_some_titles_of_a_catalogue_have_their_vectors_and_gradients() -> None:
    encoder = fit_table((*ALL, RELEASED), catalogue())
    tower, items = tower_of(encoder, ages=AGES).eval(), tensors(encoder, catalogue())
    for rows in ([3, 4, 17, 39, 0], [5], []):
        chosen, whole = torch.tensor(rows, dtype=torch.int64), tower(items)
        vectors = tower(items.select(chosen))
        torch.testing.assert_close(vectors, whole[chosen], rtol=0.0, atol=1e-6)
        for found, wanted in zip(gradients(tower, vectors), gradients(tower, whole[chosen]), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-6)


def test_titles_in_the_order_of_their_rows_have_the_vectors_of_any_other_order() -> None:
    encoder = fit_table(ALL, catalogue())
    tower = tower_of(encoder).eval()
    order = np.random.default_rng(0).permutation(40)
    straight, mixed = tensors(encoder, catalogue()), tensors(encoder, catalogue().take(order))
    assert straight.runs["id"] == 1
    assert mixed.runs["id"] is None
    torch.testing.assert_close(tower(straight)[torch.from_numpy(order)], tower(mixed))
    for found, expected in zip(
        gradients(tower, tower(straight)[torch.from_numpy(order)]),
        gradients(tower, tower(mixed)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_cold_title_has_the_vector_that_it_would_have_had_in_training_without_its_id(
    shuffled: bool,
) -> None:
    encoder = fit_table(ALL, catalogue())
    known = catalogue().take(np.random.default_rng(0).permutation(40)) if shuffled else catalogue()
    cold = known.set_column(0, "item_id", pa.array([f"new{row}" for row in range(40)]))
    tower = tower_of(encoder, id_dropout=1.0)
    dropped = tower.train()(tensors(encoder, known))
    torch.testing.assert_close(dropped, tower.eval()(tensors(encoder, cold)))
    assert (dropped - tower(tensors(encoder, known))).abs().amax(1).min() > 1e-3


def test_the_last_entries_of_a_vector_are_those_of_its_age_and_the_others_those_of_its_features() -> None:
    encoder = fit_table((*ALL, RELEASED), catalogue())
    tower = tower_of(encoder, ages=AGES).eval()
    items, undated = (
        tensors(encoder, one)
        for one in (
            catalogue(),
            catalogue().drop_columns(["released"]).append_column("released", pa.nulls(40, TIME)),
        )
    )
    with torch.no_grad():
        vectors, bare = tower(items), tower(undated)
    dated = torch.tensor([row % 3 != 0 for row in range(40)])
    torch.testing.assert_close(vectors[~dated], bare[~dated])
    assert (bare[:, 5:] == 0).all()
    assert (vectors[dated, 5:] != 0).all()
    torch.testing.assert_close(F.normalize(vectors[:, :5], dim=1), bare[:, :5])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(40))


def test_the_numbers_of_an_id_that_is_all_there_is_of_a_title_stay_whole() -> None:
    encoder = fit_table(ALL, catalogue())
    bare = table(ITEMS, {"item_id": catalogue()["item_id"], "title": [""] * 40})
    described = pa.concat_tables([bare.slice(0, 20), catalogue().slice(20)])
    tower = tower_of(encoder, embedding_dropout=0.5)
    thinned = (tower.train()(tensors(encoder, described)) - tower.eval()(tensors(encoder, described))).abs()
    assert thinned[:20].max() < 1e-6
    assert thinned[20:].amax(1).min() > 1e-3


def test_a_title_without_metadata_keeps_its_id_in_training() -> None:
    encoder = fit_table(ALL, catalogue())
    bare = table(ITEMS, {"item_id": catalogue()["item_id"], "title": [""] * 40})
    described = pa.concat_tables([bare.slice(0, 20), catalogue().slice(20)])
    tower = tower_of(encoder, id_dropout=1.0)
    lost = (tower.train()(tensors(encoder, described)) - tower.eval()(tensors(encoder, described))).abs()
    assert lost[:20].max() < 1e-6
    assert lost[20:].amax(1).min() > 1e-3


def test_in_training_a_share_of_titles_lose_one_feature_and_the_id_is_none_of_them() -> None:
    encoder = fit_table(ALL, catalogue())
    items = catalogue()
    # What each title would be without each feature: the columns that lack it. Both readings of the cast are
    # features of their own, which a table cannot lack one by one; they are left as they are.
    lacking = {
        column: items.set_column(
            items.schema.get_field_index(column), column, pa.nulls(40, ITEMS.field(column).type)
        )
        for column in ("language", "rating", "embedding")
    }
    lacking["title"] = items.set_column(1, "title", pa.array([""] * 40))
    tower = tower_of(encoder, feature_dropout=0.6)
    with torch.no_grad():
        without = torch.stack([tower.eval()(tensors(encoder, one)) for one in lacking.values()])
        whole, tower_items = tower(tensors(encoder, items)), tensors(encoder, items)
        tower.train()
        seen = torch.stack([tower(tower_items) for _ in range(300)])
    of_whole = (seen - whole).abs().amax(2) < 1e-6
    of_each = (seen[None] - without[:, None]).abs().amax(3) < 1e-6  # feature, step, title
    has = (without - whole).abs().amax(2) > 1e-4
    for feature in range(len(lacking)):
        share = of_each[feature][:, has[feature]].float().mean()
        assert float(share) == pytest.approx(0.6 / 6, abs=0.02)  # six features beside the id
    full = has.all(0) & torch.tensor([bool(names) for names in items["cast"].to_pylist()])
    assert float(of_whole[:, full].float().mean()) == pytest.approx(0.4, abs=0.03)
    tower.feature_dropout = 0.0
    with torch.no_grad():
        torch.testing.assert_close(tower(tower_items), whole)


def test_ids_alone_are_the_vectors_and_are_not_refined() -> None:
    encoder = fit_table((ID,), catalogue())
    tower = tower_of(encoder).eval()
    vectors = tower(tensors(encoder, catalogue()))
    table_of_ids = cast("FeatureTable", tower.tables[0]).row.weight
    torch.testing.assert_close(vectors, F.normalize(table_of_ids[1:], dim=-1))


def test_features_that_no_title_has_cost_no_look_up_and_change_nothing_but_row_zero() -> None:
    items = catalogue().drop_columns(["language", "cast"])
    empty = table(ITEMS, {name: items[name] for name in ("item_id", "title", "rating", "embedding")})
    encoder = fit_table((ID, LANGUAGE, CAST, BILLING), empty)
    tower = tower_of(encoder).eval()
    vectors = tower(tensors(encoder, empty))
    ids, language, names, _ = (cast("FeatureTable", one).row.weight for one in tower.tables)
    total = ids[1:] + language[0]
    assert tower.refine is not None
    torch.testing.assert_close(vectors, F.normalize(total + tower.refine(total), dim=-1))
    assert all(gradient is not None for gradient in gradients(tower, vectors))
    assert len(names) == 1


def learned(features: Sequence[Feature], items: pa.Table, taste: Tensor, liked: Tensor) -> ItemTower:
    """A tower trained until each taste, a fixed query, finds the titles that it likes."""
    encoder = fit_table(tuple(features), items)
    torch.manual_seed(0)
    tower = ItemTower(encoder, taste.shape[1], dropout=0.0, id_dropout=0.5).train()
    held = tensors(encoder, items)
    optimizer = torch.optim.Adam(tower.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(tower(held) @ taste.T / 0.1, liked)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return tower.eval()


def share_found(
    tower: ItemTower, encoder: TableEncoder, cold: pa.Table, taste: Tensor, liked: Tensor
) -> float:
    with torch.no_grad():
        score = tower(tensors(encoder, cold)) @ taste.T
    return float((score.argmax(1) == liked).float().mean())


def tastes(num: int) -> Tensor:
    return F.normalize(torch.randn(num, 16, generator=torch.Generator().manual_seed(5)), dim=-1)


def world_of_titles(rng: np.random.Generator, num: int, prefix: str) -> tuple[pa.Table, Tensor]:
    """Titles of which one word, in one of its forms, says who likes them, among words that say nothing."""
    stems = ["dragon", "kitchen", "détective", "océan", "robot", "wedding"]
    endings = ["", "s", "ing"]
    common = ["the", "of", "and", "a", "in", "my", "last", "first", "night", "day"]
    liked = rng.integers(0, len(stems), num)
    titles = []
    for one in liked:
        words = [*rng.choice(common, 3), stems[one] + endings[rng.integers(0, 3)]]
        titles.append(" ".join(rng.permutation(words)))
    ids = [f"{prefix}{row}" for row in range(num)]
    return table(ITEMS, {"item_id": ids, "title": titles}), torch.from_numpy(liked)


def test_cold_titles_of_which_only_the_title_is_known_are_found_by_those_who_like_them() -> None:
    rng = np.random.default_rng(0)
    items, liked = world_of_titles(rng, 300, "i")
    cold, cold_liked = world_of_titles(rng, 200, "new")
    shouted = cold.set_column(
        1, "title", pa.array([f"«{title.upper()}»!" for title in cold["title"].to_pylist()])
    )
    text = Feature("words", FeatureKind.TEXT, "title", RowRule.HASHING, buckets=1 << 12, min_count=2)
    taste = tastes(6)
    tower = learned((ID, text), items, taste, liked)
    encoder = fit_table((ID, text), items)
    assert share_found(tower, encoder, cold, taste, cold_liked) > 0.97
    assert share_found(tower, encoder, shouted, taste, cold_liked) > 0.97
    bare = learned((ID,), items, taste, liked)
    assert share_found(bare, fit_table((ID,), items), cold, taste, cold_liked) < 0.4


def world_of_stars(rng: np.random.Generator, num: int, prefix: str) -> tuple[pa.Table, Tensor]:
    """Titles that are liked for whoever is billed first, in a cast of five out of twelve."""
    casts = [rng.permutation(12)[:5] for _ in range(num)]
    columns = {
        "item_id": [f"{prefix}{row}" for row in range(num)],
        "title": ["T"] * num,
        "cast": [[f"p{one}" for one in five] for five in casts],
    }
    return table(ITEMS, columns), torch.tensor([int(one[0]) for one in casts])


def test_cold_titles_are_found_by_their_lead_where_the_order_of_the_cast_counts() -> None:
    rng = np.random.default_rng(0)
    items, liked = world_of_stars(rng, 400, "i")
    cold, cold_liked = world_of_stars(rng, 300, "new")
    taste = tastes(12)
    found = {}
    for kind in (FeatureKind.ORDERED, FeatureKind.MULTI):
        billed = Feature("cast", kind, "cast")
        tower = learned((ID, billed), items, taste, liked)
        found[kind] = share_found(tower, fit_table((ID, billed), items), cold, taste, cold_liked)
    assert found[FeatureKind.ORDERED] > 0.9
    assert found[FeatureKind.MULTI] < 0.4  # one of five, as far as it can tell
