import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.data.test_hashing import one_bucket
from towers.data.encoders import TableEncoder, fit_table
from towers.data.features import Feature, FeatureKind, FeatureSettings, RowRule
from towers.data.schema import ITEMS, TIME, table
from towers.errors import ConfigError, SchemaError

relaxed = settings(deadline=None, max_examples=100)
names = st.lists(st.sampled_from(["a", "b", "c", "d", "é", "", None]), max_size=4) | st.none()
casts = st.lists(names, min_size=1, max_size=8)

CAST = Feature("cast", FeatureKind.MULTI, "cast")
LANGUAGE = Feature("language", FeatureKind.CATEGORICAL, "language")
RATING = Feature("rating", FeatureKind.NUMERIC, "rating")
BILLING = Feature("billing", FeatureKind.ORDERED, "cast", min_count=2)
TITLE = Feature("words", FeatureKind.TEXT, "title", RowRule.HASHING, buckets=1 << 16)
STILL = Feature("still", FeatureKind.VECTOR, "embedding")


def catalogue(num_items: int, **columns: object) -> pa.Table:
    ids = [f"i{row}" for row in range(num_items)]
    return table(ITEMS, {"item_id": ids, "title": ids, **columns})


def weights_of(encoder: TableEncoder, feature: Feature, items: pa.Table) -> list[dict[int, float]]:
    bags = encoder.bags(feature, items)
    return [
        dict(zip(bags.row[start:stop].tolist(), bags.weight[start:stop].tolist(), strict=True))
        for start, stop in pairwise(bags.offset.tolist())
    ]


def bags_of(encoder: TableEncoder, feature: Feature, items: pa.Table) -> list[list[int]]:
    bags = encoder.bags(feature, items)
    return [bags.row[start:stop].tolist() for start, stop in pairwise(bags.offset.tolist())]


@relaxed
@given(casts, casts, st.integers(1, 3), st.integers(0, 3), st.sampled_from(RowRule))
def test_a_list_is_encoded_as_one_value_at_a_time_would_be(
    trained: list[list[str | None] | None],
    asked: list[list[str | None] | None],
    min_count: int,
    first: int,
    rule: RowRule,
) -> None:
    feature = replace(CAST, rule=rule, first=first)
    if rule is not RowRule.VOCABULARY:
        feature = replace(feature, buckets=3)
    if rule is not RowRule.HASHING:
        feature = replace(feature, min_count=min_count)
    encoder = fit_table((feature,), catalogue(len(trained), cast=trained))

    def counted(values: list[str | None] | None) -> list[str]:
        return [value for value in (values or [])[: first or None] if value]

    with_value = {v: sum(v in counted(values) for values in trained) for v in "abcdé"}
    own = sorted(v for v, count in with_value.items() if count >= max(1, feature.min_count))
    own = [] if rule is RowRule.HASHING else own
    assert list(encoder.vocabularies["cast"].ids) == own
    assert encoder.table_size(feature) == 1 + feature.buckets + len(own)

    def row(value: str) -> int:
        if value in own:
            return 1 + feature.buckets + own.index(value)
        return 1 + one_bucket(value, feature.buckets) if feature.buckets else 0

    expected = [[row(value) for value in counted(values) if row(value)] for values in asked]
    assert bags_of(encoder, feature, catalogue(len(asked), cast=asked)) == expected


@pytest.mark.parametrize("rule", RowRule)
def test_a_single_value_has_its_row_its_bucket_or_row_zero(rule: RowRule) -> None:
    feature = replace(LANGUAGE, rule=rule, buckets=0 if rule is RowRule.VOCABULARY else 7)
    items = catalogue(5, language=["en", "fr", "en", "", None])
    encoder = fit_table((feature,), items.slice(0, 1))
    bucket = 1 + one_bucket("fr", 7)
    expected = {
        RowRule.VOCABULARY: [1, 0, 1, 0, 0],
        RowRule.FREQUENCY_CUT: [8, bucket, 8, 0, 0],
        RowRule.HASHING: [1 + one_bucket("en", 7), bucket, 1 + one_bucket("en", 7), 0, 0],
    }
    assert encoder.categorical(feature, items).tolist() == expected[rule]


@pytest.mark.parametrize("rule", RowRule)
def test_many_values_have_the_rows_that_each_has_alone(rule: RowRule) -> None:
    feature = replace(LANGUAGE, rule=rule, buckets=0 if rule is RowRule.VOCABULARY else 40)
    asked = pa.array([None, "", *(f"l{number}" for number in range(300))] * 2, pa.large_string())
    encoder = fit_table((feature,), catalogue(100, language=[f"l{number}" for number in range(0, 300, 3)]))
    alone = [encoder.rows(feature, asked.slice(place, 1))[0] for place in range(len(asked))]
    assert encoder.rows(feature, asked).tolist() == alone
    assert alone[0] == 0


def test_numbers_are_standardised_by_training_rows_and_unknown_ones_are_flagged() -> None:
    year = Feature("year", FeatureKind.NUMERIC, "release_year")
    items = catalogue(3, rating=[4.0, 8.0, None], release_year=[2000, None, 2000])
    encoder = fit_table((RATING, LANGUAGE, year), items)
    assert encoder.numeric(items).tolist() == [[-1, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert encoder.numeric(items.slice(3)).shape == (0, 4)
    assert fit_table((LANGUAGE,), items).numeric(items).shape == (3, 0)


def test_moments_are_days_and_how_many_training_rows_have_one_is_counted() -> None:
    released = Feature("released", FeatureKind.MOMENT, "released")
    items = catalogue(3, released=pa.array([None, 43_200_000, -86_400_000], TIME))
    encoder = fit_table((released, LANGUAGE), items)
    assert encoder.num_dated == {"released": 2}
    np.testing.assert_array_equal(encoder.moments(released, items), [np.nan, 0.5, -1.0])
    assert encoder.grown(items.slice(0, 1)).num_dated == {"released": 2}
    assert TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())), "x") == encoder
    assert fit_table((released,), items.slice(0, 1)).num_dated == {"released": 0}


def test_a_number_that_no_training_row_has_stays_as_it_is() -> None:
    encoder = fit_table((RATING,), catalogue(2))
    assert encoder.scales == {"rating": (0.0, 1.0)}


@relaxed
@given(casts, casts)
def test_growing_keeps_every_row_and_scale_and_adds_what_is_frequent(
    before: list[list[str | None] | None], after: list[list[str | None] | None]
) -> None:
    feature = replace(CAST, min_count=2)
    old = catalogue(len(before), cast=before, rating=[5.0] * len(before))
    new = catalogue(len(after), cast=after, rating=np.linspace(0, 10, len(after), dtype=np.float32))
    encoder = fit_table((feature, RATING), old)
    grown = encoder.grown(new)
    known = encoder.vocabularies["cast"].ids
    added = set(fit_table((feature,), new).vocabularies["cast"].ids) - set(known)
    assert grown.vocabularies["cast"].ids == (*known, *sorted(added))
    assert grown.scales == encoder.scales
    assert grown.features == encoder.features
    values = pa.array(known, pa.large_string())
    assert grown.rows(feature, values).tolist() == encoder.rows(feature, values).tolist()
    assert grown.grown(new).vocabularies == grown.vocabularies


def test_a_hashed_value_that_becomes_frequent_leaves_its_bucket_and_no_other_row_moves() -> None:
    feature = replace(LANGUAGE, rule=RowRule.FREQUENCY_CUT, min_count=2, buckets=5)
    encoder = fit_table((feature,), catalogue(3, language=["en", "en", "fr"]))
    grown = encoder.grown(catalogue(3, language=["fr", "fr", "de"]))
    values = pa.array(["en", "fr", "de", None], pa.large_string())
    french, german = (1 + one_bucket(value, 5) for value in ("fr", "de"))
    assert encoder.rows(feature, values).tolist() == [6, french, german, 0]
    assert grown.rows(feature, values).tolist() == [6, 7, german, 0]


def test_an_encoder_comes_back_from_json() -> None:
    hashed = replace(CAST, rule=RowRule.FREQUENCY_CUT, min_count=2, buckets=4, first=3, dimension=2)
    items = catalogue(3, cast=[["p", "q"], None, ["p"]], rating=[1.0, None, 9.0], language=["en", "fr", None])
    encoder = fit_table((hashed, LANGUAGE, RATING), items)
    assert TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())), "features.items") == encoder


@pytest.mark.usefixtures("shapes_unchecked")
def test_what_is_no_whole_encoder_is_refused() -> None:
    whole = fit_table((CAST, RATING), catalogue(2, cast=[["p"], ["q"]], rating=[1.0, 2.0])).to_json()

    def read(**changed: object) -> TableEncoder:
        return TableEncoder.from_json(json.loads(json.dumps(whole | changed)), "features.items")

    assert read() == fit_table((CAST, RATING), catalogue(2, cast=[["p"], ["q"]], rating=[1.0, 2.0]))
    with pytest.raises(SchemaError, match=r"features\.items: vocabularies are of \[\]; expected \['cast'"):
        read(vocabularies={})
    with pytest.raises(SchemaError, match="scales are of"):
        read(scales={"rating": [0.0, 1.0], "year": [0.0, 1.0]})
    with pytest.raises(SchemaError, match="more than once"):
        read(vocabularies={"cast": ["p", "p"]})
    for changed in ({"kind": "lottery"}, {"rule": "dice"}, {"buckets": -1}, {"first": "3"}, {"odds": 1}):
        features = [whole["features"][0] | changed, whole["features"][1]]
        with pytest.raises(ConfigError, match=r"^features\.items\[0\]"):
            read(features=features)


def test_the_defaults_are_fitted_on_training_titles_alone() -> None:
    features = tuple(FeatureSettings().items)
    items = catalogue(
        3, genres=[["Drama"], ["War"], ["Noir"]], rating=[1.0, 3.0, 9.0], language=["en", "en", "fr"]
    )
    encoder = fit_table(features, items.slice(0, 2))
    assert encoder.vocabularies["genres"].ids == ("Drama", "War")
    assert encoder.vocabularies["item_id"].ids == ("i0", "i1")
    assert encoder.scales["rating"] == (2.0, 1.0)
    assert encoder.categorical(features[0], items).tolist() == [1, 2, 0]


def test_the_values_of_a_list_weigh_alike_and_add_up_to_one() -> None:
    items = catalogue(3, cast=[["p", "q", "p", "?"], None, ["q"]])
    encoder = fit_table((replace(CAST, min_count=1),), items)
    bags = encoder.bags(CAST, items)
    assert bags.weight.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25, 1.0])


def test_whoever_is_billed_first_weighs_most_and_places_count_for_those_without_a_row() -> None:
    items = catalogue(4, cast=[["p", "q", "r"], ["q", "p"], [None, "lone", "r"], ["single"]])
    weights = weights_of(fit_table((BILLING,), items), BILLING, items)
    p, q, r = 1, 2, 3
    assert weights[0] == pytest.approx({p: 6 / 11, q: 3 / 11, r: 2 / 11})  # 1, 1/2, 1/3 of 11/6
    assert weights[1] == pytest.approx({q: 2 / 3, p: 1 / 3})
    assert weights[2] == pytest.approx({r: 1.0})
    assert weights[3] == {}


def test_what_a_text_weighs_is_its_inverse_frequency_of_unit_length() -> None:
    items = catalogue(4).set_column(1, "title", pa.array(["xa xb", "xa", "xa xb", "ya"]))
    encoder = fit_table((TITLE,), items)

    def rows(*grams: str) -> set[int]:
        return {1 + one_bucket(gram, TITLE.buckets) for gram in grams}

    weights = weights_of(encoder, TITLE, items)
    # "xa" gives <xa, xa> and <xa>: three titles have each. "xb" gives three that two titles have.
    three, two, one = (np.log1p(4 / (1 + count)) for count in (3, 2, 1))
    length = np.sqrt(3 * three**2 + 3 * two**2)
    assert weights[0].keys() == rows("<xa", "xa>", "<xa>", "<xb", "xb>", "<xb>")
    assert {weights[0][row] for row in rows("<xa", "xa>", "<xa>")} == {np.float32(three / length)}
    assert {weights[0][row] for row in rows("<xb", "xb>", "<xb>")} == {np.float32(two / length)}
    assert weights[3] == pytest.approx(dict.fromkeys(rows("<ya", "ya>", "<ya>"), one / np.sqrt(3 * one**2)))
    strangers = catalogue(3).set_column(1, "title", pa.array(["zz", "xa zz", "xa"]))
    cold = weights_of(encoder, TITLE, strangers)
    assert cold[0] == {}  # of what no training title has, nothing was learned
    assert cold[1] == cold[2]
    frequent = replace(TITLE, min_count=2)
    assert weights_of(fit_table((frequent,), items), frequent, items)[3] == {}


def test_two_titles_that_share_a_rare_word_are_nearer_than_two_that_share_a_common_one() -> None:
    titles = [f"the {word}" for word in ("voyage", "garden", "umbrella", "kingfisher", "mountain", "dublin")]
    titles += ["kingfisher blues", "the bakery", "a quiet orchard"]
    items = catalogue(len(titles)).set_column(1, "title", pa.array(titles))
    weights = weights_of(fit_table((TITLE,), items), TITLE, items)

    def nearness(one: int, other: int) -> float:
        return sum(weight * weights[other].get(row, 0.0) for row, weight in weights[one].items())

    rare, common, nothing = nearness(3, 6), nearness(3, 7), nearness(6, 8)
    assert rare > 0.4
    assert common < 0.1
    assert nothing == 0.0


def test_vectors_are_standardised_by_training_rows_and_unknown_ones_are_flagged() -> None:
    items = catalogue(4, embedding=[[1.0, 5.0], None, [3.0, 5.0], []])
    encoder = fit_table((STILL, RATING), items)
    assert encoder.vectors(STILL, items).tolist() == [[-1, 0, 1], [0, 0, 0], [1, 0, 1], [0, 0, 0]]
    later = catalogue(1, embedding=[[2.0, 7.0]])
    assert encoder.vectors(STILL, later).tolist() == [[0, 2, 1]]
    assert encoder.vectors(STILL, items.slice(4)).shape == (0, 3)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (
            [None, [1.0, 2.0], [1.0]],
            r"^embedding: that of 'i2' has 1 numbers, one of 1 such rows; expected 2",
        ),
        ([[1.0, 2.0, 3.0], [1.0], None], r"^embedding: that of 'i0' has 3 numbers, one of 2 such rows"),
        ([[1.0, 2.0], [np.nan, 1.0], None], r"^embedding: that of 'i1' holds nan, one of 1 .* finite"),
        ([None, None, [1.0, -np.inf]], r"^embedding: that of 'i2' holds -inf"),
        ([[1.0, None], None, None], r"^embedding: that of 'i0' holds nan"),
    ],
)
def test_a_vector_that_cannot_be_read_is_refused_by_the_id_of_its_row(
    vectors: list[list[float | None] | None], said: str
) -> None:
    encoder = fit_table((STILL,), catalogue(2, embedding=[[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(SchemaError, match=said):
        encoder.vectors(STILL, catalogue(3, embedding=vectors))


def test_vectors_that_no_title_to_learn_from_has_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"^embedding: no row to learn from has a vector"):
        fit_table((STILL,), catalogue(2))


def test_texts_and_vectors_stay_as_they_were_fitted_when_an_encoder_grows() -> None:
    before = catalogue(2, cast=[["p"], ["p"]], embedding=[[1.0], [2.0]])
    after = catalogue(3, cast=[["q"], ["q", "p"], ["p"]], embedding=[[9.0], [8.0], None])
    encoder = fit_table((TITLE, BILLING, STILL), before)
    grown = encoder.grown(after)
    assert grown.vocabularies["billing"].ids == ("p", "q")
    assert grown.table_size(TITLE) == encoder.table_size(TITLE) == 1 + TITLE.buckets
    assert (grown.rarities, grown.vector_scales) == (encoder.rarities, encoder.vector_scales)
    assert bags_of(grown, TITLE, after) == bags_of(encoder, TITLE, after)


@pytest.mark.usefixtures("shapes_unchecked")
def test_fitted_texts_and_vectors_come_back_from_json_and_are_refused_where_they_are_not_whole() -> None:
    short = replace(TITLE, buckets=8)
    encoder = fit_table((short, BILLING, STILL), catalogue(2, embedding=[[1.0, 3.0], [2.0, 0.5]]))
    whole = json.loads(json.dumps(encoder.to_json()))
    assert TableEncoder.from_json(whole, "features.items") == encoder
    other = fit_table((short, BILLING, STILL), catalogue(3, embedding=[[1.0, 3.0], [2.0, 0.5], None]))
    assert other != encoder
    counts = whole["rarities"]["words"]
    for changed, said in (
        ({"rarities": {}}, "rarities are of"),
        ({"rarities": {"words": counts | {"count": [1] * 7}}}, "counts of 7 buckets .* expected 8"),
        ({"rarities": {"words": counts | {"num_texts": 0}}}, "none above the number of texts"),
        ({"vector_scales": {"still": {"mean": [0.0], "deviation": [1.0, 1.0]}}}, "1 means and 2 deviations"),
    ):
        with pytest.raises(SchemaError, match=rf"^features\.items: .*{said}"):
            TableEncoder.from_json(whole | changed, "features.items")
