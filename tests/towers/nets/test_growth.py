"""What growing keeps to the bit, and where new rows start."""

from dataclasses import replace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from towers.data.encoders import TableEncoder
from towers.data.feature_encoder import fit_features
from towers.data.features import Feature, FeatureKind, FeatureSettings, RowRule
from towers.data.histories import Histories
from towers.data.schema import ITEMS, PROFILES, TIME, table
from towers.errors import ConfigError
from towers.nets.ages import Ticks
from towers.nets.feature_tables import FeatureTable
from towers.nets.growth import carry_over
from towers.nets.item_tower import ItemTower
from towers.nets.two_tower import Member, ModelSettings, TwoTower
from towers.recommender import Queries

ID = Feature("id", FeatureKind.CATEGORICAL, "item_id")
CAST = Feature("cast", FeatureKind.MULTI, "cast", min_count=2, dimension=4)
LANGUAGE = Feature(
    "language", FeatureKind.CATEGORICAL, "language", RowRule.FREQUENCY_CUT, min_count=2, buckets=3
)
STUDIO = Feature("studio", FeatureKind.CATEGORICAL, "attributes.studio", min_count=2)
CREW = Feature("crew", FeatureKind.MULTI, "directors", RowRule.FREQUENCY_CUT, min_count=2, buckets=4)
RATING = Feature("rating", FeatureKind.NUMERIC, "rating")
COUNTRY = Feature("country", FeatureKind.CATEGORICAL, "country")
SETTINGS = FeatureSettings([ID, CAST, LANGUAGE, STUDIO, CREW, RATING], [COUNTRY])


def catalogue(*rows: tuple[str, list[str], str, str, list[str], float]) -> pa.Table:
    ids, casts, languages, studios, crews, ratings = zip(*rows, strict=True)
    return table(
        ITEMS,
        {
            "item_id": ids,
            "title": ids,
            "cast": casts,
            "language": languages,
            "attributes": [[{"name": "studio", "value": studio}] for studio in studios],
            "directors": crews,
            "rating": ratings,
        },
    )


OLD = [
    ("a", ["P", "Q"], "en", "S", ["D"], 2.0),
    ("b", ["P", "Q"], "en", "S", ["D", "E"], 8.0),
    # R, T, the languages, the studios and F mark one title each: they have no row of their own.
    ("c", ["P", "R"], "fr", "U", ["F"], 5.0),
    ("d", ["T"], "de", "V", [], 6.0),
]
NEW = [
    ("e", ["P", "R"], "fr", "U", ["F"], 9.0),
    ("f", ["T", "W", "Q"], "ja", "V", ["G"], 1.0),
    ("g", ["W"], "ja", "V", ["G", "E"], 3.0),
]
BEFORE, AFTER = catalogue(*OLD), catalogue(*OLD, *NEW)
PEOPLE = table(PROFILES, {"profile_id": ["x", "y"], "country": ["GB", "FR"]})
MORE = table(PROFILES, {"profile_id": ["z", "y"], "country": ["JP", "FR"]})


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    torch.manual_seed(0)
    model = TwoTower(
        ModelSettings(dim=16, num_heads=2, num_layers=1, max_history=4),
        fit_features(BEFORE, PEOPLE, SETTINGS),
    ).eval()
    for weight in model.parameters():  # as after training: no row is zero
        nn.init.normal_(weight, std=0.3)
    return model


@pytest.fixture(scope="module")
def grown(towers: TwoTower) -> TwoTower:
    return carry_over(towers, towers.encoder.grown(AFTER, MORE), AFTER)


def vectors(towers: TwoTower, items: pa.Table) -> np.ndarray:
    return towers.embed(towers.encoder.encode(items))


def items_of(towers: TwoTower) -> ItemTower:
    return cast("Member", towers.members[0]).items


def rows(towers: TwoTower, feature: Feature) -> tuple[TableEncoder, np.ndarray]:
    tower = items_of(towers)
    weight = cast("FeatureTable", tower.tables[tower.features.index(feature)]).row.weight
    return towers.encoder.items, weight.detach().numpy()


def row_of(towers: TwoTower, feature: Feature, value: str) -> np.ndarray:
    encoder, weight = rows(towers, feature)
    row: np.ndarray = weight[encoder.rows(feature, pa.array([value], pa.large_string()))[0]]
    return row


def test_what_is_new_and_frequent_has_a_row_and_all_rows_learned_are_kept(
    towers: TwoTower, grown: TwoTower
) -> None:
    known = grown.encoder.items.vocabularies
    assert known["id"].ids == ("a", "b", "c", "d", "e", "f", "g")
    assert known["cast"].ids == ("P", "Q", "R", "T", "W")
    assert known["language"].ids == ("en", "fr", "ja")
    assert known["studio"].ids == ("S", "U", "V")
    assert known["crew"].ids == ("D", "E", "F", "G")
    assert grown.encoder.profiles.vocabularies["country"].ids == ("FR", "GB", "JP")
    for name, learned in towers.state_dict().items():
        torch.testing.assert_close(grown.state_dict()[name][: len(learned)], learned, rtol=0, atol=0)


def test_titles_keep_their_vectors_to_the_bit_known_and_new(towers: TwoTower, grown: TwoTower) -> None:
    before, after = vectors(towers, AFTER), vectors(grown, AFTER)
    same = [place for place, (_, cast, *_) in enumerate([*OLD, *NEW]) if not {"R", "T", "W"} & set(cast)]
    assert same == [0, 1]
    np.testing.assert_array_equal(before[same], after[same])
    # Their casts had people left out who now count, and lie where the rest of the cast did.
    np.testing.assert_allclose(before[2:5], after[2:5], atol=1e-6)


def test_texts_vectors_and_a_billing_keep_the_vectors_of_titles_when_they_grow() -> None:
    billing = Feature("billing", FeatureKind.ORDERED, "cast", min_count=2, dimension=4)
    title = Feature("words", FeatureKind.TEXT, "synopsis", RowRule.HASHING, buckets=64)
    still = Feature("still", FeatureKind.VECTOR, "embedding")

    def described(items: pa.Table) -> pa.Table:
        told = [f"a tale of {id_} and {id_}{id_}" for id_ in items["item_id"].to_pylist()]
        given = [None if row == 1 else [row, 3.0 - row**2] for row in range(items.num_rows)]
        columns = {name: items[name] for name in ("item_id", "title", "cast")}
        return table(ITEMS, {**columns, "synopsis": told, "embedding": given})

    before, after = described(BEFORE), described(AFTER)
    torch.manual_seed(2)
    settings = FeatureSettings([ID, billing, title, still], [COUNTRY])
    towers = TwoTower(ModelSettings(dim=16, num_heads=2), fit_features(before, PEOPLE, settings)).eval()
    for weight in towers.parameters():
        nn.init.normal_(weight, std=0.3)
    grown = carry_over(towers, towers.encoder.grown(after, MORE), after)
    assert grown.encoder.items.vocabularies["billing"].ids == ("P", "Q", "R", "T", "W")
    assert len(rows(grown, title)[1]) == 65
    learned, kept = items_of(towers).maps.state_dict(), items_of(grown).maps.state_dict()
    torch.testing.assert_close(kept, learned, rtol=0, atol=0)
    # f and g bring W, whom no title that is known has.
    np.testing.assert_allclose(vectors(towers, after)[:5], vectors(grown, after)[:5], atol=1e-6)
    refitted = fit_features(after, MORE, settings)
    with pytest.raises(ConfigError, match="rows or scales have moved"):
        carry_over(towers, refitted, after)


def test_a_catalogue_without_lists_keeps_every_vector_to_the_bit() -> None:
    torch.manual_seed(1)
    settings = FeatureSettings([ID, LANGUAGE, STUDIO, CREW, RATING], [COUNTRY])
    old = TwoTower(ModelSettings(dim=16), fit_features(BEFORE, PEOPLE, settings)).eval()
    new = carry_over(old, old.encoder.grown(AFTER, MORE), AFTER)
    assert new.encoder.items.table_size(CREW) > old.encoder.items.table_size(CREW)
    np.testing.assert_array_equal(vectors(old, AFTER), vectors(new, AFTER))


def test_queries_keep_their_vectors_to_the_bit(towers: TwoTower, grown: TwoTower) -> None:
    item = torch.from_numpy(vectors(towers, AFTER))
    history = Histories(
        np.array([0, 2, 3, 3]), np.array([0, 1, 4]), np.array([5, 9, 7]), np.full(3, np.nan, np.float32)
    )
    asked = Queries(history, np.full(3, 20), np.array(["GB", "", "JP"]))
    np.testing.assert_array_equal(towers.encode(asked, item), grown.encode(asked, item))


def test_a_new_row_starts_where_its_value_was_read_from(towers: TwoTower, grown: TwoTower) -> None:
    for feature, value in ((ID, "e"), (STUDIO, "U"), (LANGUAGE, "fr"), (LANGUAGE, "ja"), (CREW, "G")):
        np.testing.assert_array_equal(row_of(grown, feature, value), row_of(towers, feature, value))
    np.testing.assert_array_equal(row_of(grown, ID, "e"), rows(towers, ID)[1][0])


def test_a_new_value_of_a_list_starts_at_what_known_titles_have_beside_it(
    towers: TwoTower, grown: TwoTower
) -> None:
    p, q = row_of(towers, CAST, "P"), row_of(towers, CAST, "Q")
    # R is in c (known, beside P) and in e (new, not asked); T in d, alone; W in f beside Q, in g alone.
    np.testing.assert_allclose(row_of(grown, CAST, "R"), p, atol=1e-6)
    np.testing.assert_allclose(row_of(grown, CAST, "T"), 0.0, atol=1e-6)
    np.testing.assert_allclose(row_of(grown, CAST, "W"), q / 2, atol=1e-6)


def test_nothing_new_gives_the_same_towers(towers: TwoTower) -> None:
    same = carry_over(towers, towers.encoder.grown(BEFORE, PEOPLE), BEFORE)
    assert same.encoder == towers.encoder
    for name, learned in towers.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], learned, rtol=0, atol=0)


def test_ticks_reach_on_with_the_log_and_what_was_learned_of_ages_is_kept() -> None:
    released = Feature("released", FeatureKind.MOMENT, "released")
    settings = replace(SETTINGS, items=[*SETTINGS.items, released])
    days = [None, 3, 40, 90, 50, 120, 200]
    place = AFTER.schema.get_field_index("released")
    items = AFTER.set_column(place, "released", pa.array([d and d * 86_400_000 for d in days], TIME))
    model = ModelSettings(dim=16, num_heads=2, moment_days=0.0)
    old = TwoTower.of_span(model, fit_features(items.slice(0, 4), PEOPLE, settings), 0, 80 * 86_400).eval()
    for weight in old.parameters():
        nn.init.normal_(weight, std=0.3)
    ages = Ticks(0, 200 * 86_400, 4)
    new = carry_over(old, old.encoder.grown(items, MORE), items, None, ages)
    assert (old.ages, new.ages) == (Ticks(0, 100 * 86_400 + 1, 4), ages)
    torch.testing.assert_close(items_of(new).ages.kappa, items_of(old).ages.kappa, rtol=0, atol=0)  # type: ignore[union-attr]
    # On the first tick, which both have, a title is as old as it was; the second is twice as far.
    at = items_of(old).ages, items_of(new).ages
    at_day, total = torch.tensor([40.0]), torch.zeros(1, 12)
    old_ticks, new_ticks = (one(at_day, total)[0] for one in at if one is not None)
    torch.testing.assert_close(old_ticks[[0, 2]], new_ticks[[0, 1]], atol=1e-4, rtol=0)


def test_what_is_carried_over_is_a_copy_that_learns_alone(towers: TwoTower) -> None:
    same = carry_over(towers, towers.encoder.grown(BEFORE, PEOPLE), BEFORE)
    before = rows(towers, ID)[1].copy()
    with torch.no_grad():
        for weight in same.parameters():
            assert weight.requires_grad
            weight.add_(1.0)
    np.testing.assert_array_equal(rows(towers, ID)[1], before)


@pytest.mark.parametrize(
    ("features", "items", "said"),
    [
        (FeatureSettings([ID, CAST], [COUNTRY]), BEFORE, "not those that the towers were trained with"),
        (replace(SETTINGS, profiles=[]), BEFORE, "not those that the towers were trained with"),
        (SETTINGS, AFTER, "rows or scales have moved"),
    ],
)
def test_an_encoder_that_is_not_grown_from_the_towers_own_is_refused(
    towers: TwoTower, features: FeatureSettings, items: pa.Table, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        carry_over(towers, fit_features(items, PEOPLE, features), AFTER)
