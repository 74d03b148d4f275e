"""The layers over encoded features, held against sums written out row by row."""

from typing import cast

import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from towers.data.encoders import TableEncoder, fit_table
from towers.data.feature_encoder import FeatureEncoder
from towers.data.features import Feature, FeatureKind, RowRule
from towers.data.schema import ITEMS, PROFILES, table
from towers.errors import ConfigError
from towers.nets.feature_tables import FeatureTable, ProfileFeatures
from towers.nets.item_tower import ItemFeatureTensors, ItemTower

CATALOGUE = table(
    ITEMS,
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["A", "B", "C", "D"],
        "genres": [["Drama", "War"], None, ["Drama"], ["Noir", "War", "War"]],
        "language": ["en", None, "fr", "en"],
        "rating": [2.0, 4.0, None, 6.0],
        "attributes": [[{"name": "mood", "value": mood}] for mood in ("calm", "tense", "odd", "calm")],
    },
)
ID = Feature("id", FeatureKind.CATEGORICAL, "item_id")
GENRES = Feature("genres", FeatureKind.MULTI, "genres", dimension=3)
LANGUAGE = Feature("language", FeatureKind.CATEGORICAL, "language", min_count=2, dimension=8)
MOOD = Feature("mood", FeatureKind.CATEGORICAL, "attributes.mood", RowRule.HASHING, buckets=2)
RATING = Feature("rating", FeatureKind.NUMERIC, "rating")
NOBODY = fit_table((), table(PROFILES, {}))


def tower(*features: Feature, dim: int = 8) -> tuple[TableEncoder, ItemTower]:
    torch.manual_seed(0)
    encoder = fit_table(features, CATALOGUE)
    return encoder, ItemTower(encoder, dim, dropout=0.0, id_dropout=0.5).eval()


def vectors(encoder: TableEncoder, items: ItemTower, catalogue: pa.Table = CATALOGUE) -> Tensor:
    with torch.no_grad():
        found: Tensor = items(ItemFeatureTensors(FeatureEncoder(encoder, NOBODY).encode(catalogue)))
    return found


def weights(module: nn.Module, place: int) -> tuple[Tensor, Tensor | None]:
    """The rows of a table and, where it is narrow, the matrix that carries them up."""
    one = cast("FeatureTable", cast("nn.ModuleList", module)[place])
    return one.row.weight, one.up.weight if isinstance(one.up, nn.Linear) else None


def test_a_title_is_the_sum_of_its_features_refined_and_of_unit_length() -> None:
    encoder, items = tower(ID, GENRES, LANGUAGE, MOOD, RATING)
    (ids, _), (genres, up), (languages, same), (moods, _) = (weights(items.tables, n) for n in range(4))
    assert genres.shape == (4, 3)  # row 0, then Drama, Noir, War
    assert same is None
    assert up is not None
    assert items.refine is not None
    mood = encoder.rows(MOOD, pa.array(["tense", "calm"], pa.large_string())).tolist()
    rating = cast("nn.Linear", items.numeric)
    with torch.no_grad():
        b = ids[2] + languages[0] + moods[mood[0]] + rating(torch.tensor([0.0, 1.0]))
        d = ids[4] + (genres[2] + 2 * genres[3]) / 3 @ up.T + languages[1] + moods[mood[1]]
        d = d + rating(torch.tensor([1.5**0.5, 1.0]))
        expected = torch.stack([total + items.refine(total) for total in (b, d)])
    found = vectors(encoder, items)
    torch.testing.assert_close(found[[1, 3]], nn.functional.normalize(expected, dim=-1))


@pytest.mark.parametrize("features", [(RATING,), (GENRES,), (ID, LANGUAGE)])
def test_every_kind_of_feature_can_stand_alone(features: tuple[Feature, ...]) -> None:
    encoder, items = tower(*features)
    found = vectors(encoder, items)
    assert found.shape == (4, 8)
    assert torch.isfinite(found).all()
    assert (found[0] - found[3]).abs().max() > 1e-3


def test_row_zero_says_nothing_at_the_start() -> None:
    encoder, items = tower(ID, GENRES, LANGUAGE)
    for place in range(3):
        assert not weights(items.tables, place)[0][0].any()
    stranger = table(ITEMS, {"item_id": ["x", "y"], "title": ["X", "Y"], "language": ["fr", None]})
    found = vectors(encoder, items, stranger)
    torch.testing.assert_close(found[0], found[1])


def test_in_training_some_titles_lose_their_id_and_nothing_else() -> None:
    encoder, items = tower(ID, GENRES)
    whole = vectors(encoder, items)
    without_id = CATALOGUE.set_column(0, "item_id", pa.array(["?1", "?2", "?3", "?4"]))
    bare = vectors(encoder, items, without_id)
    items.train()
    torch.manual_seed(1)
    seen = torch.stack([vectors(encoder, items) for _ in range(40)])
    of_whole = (seen - whole).abs().amax(2) < 1e-6
    of_bare = (seen - bare).abs().amax(2) < 1e-6
    assert (of_whole | of_bare).all()
    assert 0.3 < of_bare.float().mean() < 0.7


def test_a_narrow_table_starts_as_large_as_a_wide_one() -> None:
    many = table(ITEMS, {"item_id": [f"i{row}" for row in range(3000)], "title": ["T"] * 3000})
    sizes = []
    for dimension in (0, 8):
        feature = Feature("id", FeatureKind.CATEGORICAL, "item_id", dimension=dimension)
        torch.manual_seed(0)
        one = FeatureTable(fit_table((feature,), many), feature, 64, std=0.125)
        with torch.no_grad():
            sizes.append(float(one(torch.arange(1, 3001)).std()))
    assert sizes[0] == pytest.approx(0.125, rel=0.05)
    assert sizes[1] == pytest.approx(0.125, rel=0.15)


def test_a_dimension_wider_than_the_tower_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^features: the dimension of language is 8; .* model\.dim, 4$"):
        tower(LANGUAGE, dim=4)


def test_a_profile_is_the_sum_of_its_features() -> None:
    features = (
        Feature("country", FeatureKind.CATEGORICAL, "country", dimension=2),
        Feature("since", FeatureKind.NUMERIC, "attributes.since"),
        Feature("kids", FeatureKind.CATEGORICAL, "kids"),
    )
    people = table(PROFILES, {"profile_id": ["a", "b"], "country": ["GB", None], "kids": [True, False]})
    encoder = fit_table(features, people)
    torch.manual_seed(0)
    layer = ProfileFeatures(encoder, 4)
    (country, up), (kids, _) = weights(layer.tables, 0), weights(layer.tables, 1)
    assert up is not None
    assert layer.numeric is not None
    row = torch.tensor([[1, 2], [0, 1]], dtype=torch.int32)
    numeric = torch.tensor([[0.5, 1.0], [0.0, 0.0]])
    with torch.no_grad():
        first = country[1] @ up.T + kids[2] + layer.numeric(numeric[0])
        torch.testing.assert_close(layer(row, numeric), torch.stack([first, country[0] @ up.T + kids[1]]))


def test_without_profile_features_a_profile_is_zero() -> None:
    layer = ProfileFeatures(NOBODY, 4)
    assert not layer(torch.zeros(3, 0, dtype=torch.int32), torch.zeros(3, 0)).any()
    assert layer(torch.zeros(3, 0, dtype=torch.int32), torch.zeros(3, 0)).shape == (3, 4)
    assert not list(layer.parameters())
