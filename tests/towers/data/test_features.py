from dataclasses import replace

import pytest

from towers.data.features import SENSITIVE_COLUMNS, Feature, FeatureKind, FeatureSettings, RowRule
from towers.errors import ConfigError

PLAN = Feature("plan", FeatureKind.CATEGORICAL, "attributes.plan")
TITLE = Feature("words", FeatureKind.TEXT, "title", RowRule.HASHING, buckets=64)
STILL = Feature("still", FeatureKind.VECTOR, "embedding")
RELEASED = Feature("released", FeatureKind.MOMENT, "released")


def test_by_default_the_country_alone_is_known_of_a_profile() -> None:
    columns = [feature.column for feature in FeatureSettings().profiles]
    assert columns == ["country"]
    assert not set(columns) & set(SENSITIVE_COLUMNS)


def test_a_column_of_each_type_can_be_a_feature() -> None:
    one, number = FeatureKind.CATEGORICAL, FeatureKind.NUMERIC
    FeatureSettings(
        items=[
            Feature(
                "cast", FeatureKind.MULTI, "cast", RowRule.FREQUENCY_CUT, min_count=3, buckets=100, first=5
            ),
            Feature("series", one, "series_id", RowRule.HASHING, buckets=1000, dimension=8),
            Feature("year", one, "release_year"),
            Feature("rating", number, "rating"),
            replace(TITLE, min_count=2, first=50, dimension=16),
            Feature("billing", FeatureKind.ORDERED, "cast", min_count=2, first=5),
            STILL,
            RELEASED,
        ],
        profiles=[PLAN, Feature("since", number, "attributes.since"), Feature("kids", one, "kids")],
    )


def test_titles_have_one_moment_at_most_and_profiles_none() -> None:
    with pytest.raises(ConfigError, match=r"^features\.items: \['released', 'again'\] are moments; expected"):
        FeatureSettings(items=[RELEASED, PLAN, replace(RELEASED, name="again")])
    with pytest.raises(ConfigError, match=r"^features\.profiles\[0\]\.column: 'released'; expected one of"):
        FeatureSettings(profiles=[RELEASED])


@pytest.mark.parametrize("column", ["profile_id", "household_id"])
def test_who_a_profile_is_can_never_be_a_feature(column: str) -> None:
    with pytest.raises(ConfigError, match=rf"^features\.profiles\[1\]\.column: {column}; expected another"):
        FeatureSettings(profiles=[PLAN, Feature("who", FeatureKind.CATEGORICAL, column)])


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (
            replace(PLAN, column="plan"),
            r"\.column: 'plan'; expected one of item_id, .*attributes\.<name>",
        ),
        (replace(PLAN, column="attributes."), r"\.column: 'attributes\.'; expected one of"),
        (replace(PLAN, column="cast"), r"\.kind: categorical of cast, which holds list<"),
        (replace(PLAN, column="rating"), r"\.kind: categorical of rating, which holds float"),
        (replace(PLAN, column="licences"), r"\.kind: categorical of licences"),
        (replace(PLAN, column="attributes"), r"\.kind: categorical of attributes"),
        (replace(PLAN, kind=FeatureKind.MULTI), r"\.kind: multi of attributes\.plan, which holds string"),
        (replace(PLAN, kind=FeatureKind.MULTI, column="licences"), r"\.kind: multi of licences"),
        (replace(PLAN, kind=FeatureKind.NUMERIC, min_count=2), r": a number has no rows"),
        (replace(PLAN, kind=FeatureKind.NUMERIC, dimension=2), r": a number has no rows"),
        (replace(PLAN, first=2), r"\.first: 2; expected 0"),
        (
            replace(TITLE, rule=RowRule.VOCABULARY, buckets=0),
            r"\.rule: vocabulary of a text; expected hashing",
        ),
        (replace(TITLE, rule=RowRule.FREQUENCY_CUT), r"\.rule: frequency_cut of a text; expected hashing"),
        (replace(TITLE, buckets=0), r"\.buckets: 0 by hashing; expected 1 or more"),
        (replace(TITLE, column="cast"), r"\.kind: text of cast, which holds list<"),
        (replace(TITLE, column="release_year"), r"\.kind: text of release_year, which holds int16"),
        (replace(PLAN, kind=FeatureKind.ORDERED), r"\.kind: ordered of attributes\.plan, which holds string"),
        (replace(PLAN, kind=FeatureKind.VECTOR), r"\.kind: vector of attributes\.plan, which holds string"),
        (replace(STILL, column="cast"), r"\.kind: vector of cast"),
        (replace(STILL, kind=FeatureKind.MULTI), r"\.kind: multi of embedding"),
        (replace(STILL, dimension=4), r": a vector has no rows"),
        (replace(STILL, first=4), r"\.first: 4; expected 0"),
        (replace(RELEASED, column="release_year"), r"\.kind: moment of release_year, which holds int16"),
        (replace(RELEASED, kind=FeatureKind.NUMERIC), r"\.kind: numeric of released, which holds timestamp"),
        (replace(RELEASED, min_count=2), r": a moment has no rows"),
        (replace(PLAN, buckets=9), r"\.buckets: 9 by vocabulary; expected 0"),
        (replace(PLAN, rule=RowRule.HASHING), r"\.buckets: 0 by hashing; expected 1 or more"),
        (replace(PLAN, rule=RowRule.FREQUENCY_CUT), r"\.buckets: 0 by frequency_cut; expected 1 or more"),
        (
            replace(PLAN, rule=RowRule.HASHING, buckets=9, min_count=2),
            r"\.min_count: 2 by hashing; expected 1",
        ),
        (replace(PLAN, min_count=0), r"\.min_count: 0 is out of range"),
        (replace(PLAN, name=""), r"\.name: ''; expected a word"),
        (replace(PLAN, name="a.b"), r"\.name: 'a\.b'; expected a word"),
    ],
)
def test_a_feature_that_cannot_be_is_refused_by_its_key(feature: Feature, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^features\.items\[0\]{said}"):
        FeatureSettings(items=[feature])


def test_a_name_given_twice_and_titles_without_a_feature_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^features\.profiles\[1\]\.name: 'plan'"):
        FeatureSettings(profiles=[PLAN, PLAN])
    with pytest.raises(ConfigError, match=r"^features\.items: empty"):
        FeatureSettings(items=[])


def test_a_text_of_a_profile_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^features\.profiles\[0\]\.kind: text; expected categorical or num"
    ):
        FeatureSettings(profiles=[replace(TITLE, column="occupation")])
