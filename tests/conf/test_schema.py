"""What the settings of the scripts refuse, before any work, and how they say so."""

import pytest

from conf.compose import compose_settings
from conf.schema import EvaluateSettings, PipelineSettings
from towers.data.features import Feature, FeatureKind, FeatureSettings, RowRule
from towers.errors import ConfigError


@pytest.mark.parametrize("ks", ["[]", "[0,10]", "[-1,10]", "[5,100]"])
def test_the_places_of_an_evaluation_are_positive_and_ten_is_among_them(ks: str) -> None:
    with pytest.raises(ConfigError, match=r"^ks: found \[.*\]; expected places >= 1, and 10 among them$"):
        compose_settings(EvaluateSettings, "evaluate", (f"ks={ks}",))


def test_other_places_beside_ten_are_free() -> None:
    assert compose_settings(EvaluateSettings, "evaluate", ("ks=[1,10,50]",)).ks == [1, 10, 50]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            "lr",
            "trainer, seed, artifacts, stage, split, query_tower, index, dimension, gates, candidate",
        ),
        ("trainer.lr", "expected one of trainer."),
        ("learning_rate", "did you mean trainer.learning_rate?"),
        ("max_epoch", "did you mean trainer.max_epochs?"),
    ],
)
def test_a_poor_match_gives_the_list_and_a_good_one_the_full_key(key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: unknown key; ") as caught:
        compose_settings(PipelineSettings, "train", (f"{key}=3",))
    assert said in str(caught.value)


def features(overrides: str) -> FeatureSettings:
    return compose_settings(PipelineSettings, "train", (overrides,)).features


def test_the_yaml_of_the_standard_features_is_the_default_of_the_code() -> None:
    assert compose_settings(PipelineSettings, "train").features == FeatureSettings()


def test_features_are_declared_on_the_command_line() -> None:
    area = "{name: area, kind: categorical, column: postal_code, rule: hashing, buckets: 64, dimension: 8}"
    declared = features(f"features.profiles=[{area}]")
    assert declared.profiles == [
        Feature("area", FeatureKind.CATEGORICAL, "postal_code", RowRule.HASHING, buckets=64, dimension=8)
    ]
    assert declared.items == FeatureSettings().items


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("column: lang", r"^features\.profiles\[0\]\.column: 'lang'; expected one of profile_id, country"),
        ("column: household_id", r"^features\.profiles\[0\]\.column: household_id; expected another"),
        ("column: kids, min_count: 0", r"^features\.profiles\[0\]\.min_count: 0 is out of range"),
        (
            "colum: kids",
            r"^features\.items\[…\] or features\.profiles\[…\]: colum: .* mean column\?$",
        ),
        ("column: kids, buckets: many", r"features\.profiles\[…\]: buckets: found 'many'; expected int$"),
        ("first: 3", r"^features\.profiles\[0\]\.column: not set; expected str"),
    ],
)
def test_a_feature_that_cannot_be_is_refused_before_any_work(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        features(f"features.profiles=[{{name: one, kind: categorical, {given}}}]")
