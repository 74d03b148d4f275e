"""What the settings of the scripts refuse, before any work, and how they say so."""

import pytest

from conf.compose import compose_settings
from conf.schema import EvaluateSettings, PipelineSettings
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
        ("lr", "expected one of data, stage, split, model, objective, loader, trainer, index, gates"),
        ("trainer.lr", "expected one of trainer."),
        ("learning_rate", "did you mean trainer.learning_rate?"),
        ("max_epoch", "did you mean trainer.max_epochs?"),
    ],
)
def test_a_poor_match_gives_the_list_and_a_good_one_the_full_key(key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: unknown key; ") as caught:
        compose_settings(PipelineSettings, "train", (f"{key}=3",))
    assert said in str(caught.value)
