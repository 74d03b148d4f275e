"""The search spaces say what the settings they are of say."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from tests.contracts.recommenders import make_world
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError
from towers.ladder.rungs import RungName, RungSettings, fit_rung
from towers.ladder.search_spaces import SPACES, Choices, Floats, Ints, Parameter, space_of
from towers.ladder.tuned import field_of, with_fields
from towers.training.settings import FitSettings

PARAMETERS = [(name, parameter) for name, space in SPACES.items() for parameter in space]
OPERATORS = {"ge": float.__ge__, "gt": float.__gt__, "le": float.__le__, "lt": float.__lt__}


DEFAULTS = RungSettings(), FitSettings()


def declared(field: str) -> tuple[Any, Any]:
    """The type and the metadata of a dotted field, by a walk of its own."""
    settings: Any = DEFAULTS[field.startswith("towers.")]
    *path, last = field.removeprefix("towers.").split(".")
    for name in path:
        settings = getattr(settings, name)
        assert is_dataclass(settings)
    (found,) = [item for item in fields(settings) if item.name == last]
    return get_type_hints(type(settings))[last], found.metadata


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=lambda each: getattr(each, "field", each))
def test_every_parameter_is_a_setting_whose_default_and_range_it_agrees_with(
    name: RungName, parameter: Parameter
) -> None:
    hint, bounds = declared(parameter.field)
    assert parameter.holds(field_of(parameter.field, *DEFAULTS))
    match parameter:
        case Choices():
            ends: list[Any] = list(parameter.choices)
        case Floats():
            assert hint in (float, float | None)
            assert not parameter.log or parameter.low > 0.0
            ends = [parameter.low, parameter.high]
        case Ints():
            assert hint is int
            assert not parameter.log or parameter.low > 0
            ends = [parameter.low, parameter.high]
    for end in ends:
        assert all(OPERATORS[sign](float(end), float(bound)) for sign, bound in bounds.items()), parameter
        changed = with_fields(name, {parameter.field: end}, *DEFAULTS, "a test")
        assert field_of(parameter.field, *changed) == end


def test_every_field_is_of_one_rung() -> None:
    found = [parameter.field for _, parameter in PARAMETERS]
    assert len(set(found)) == len(found)


def test_every_rung_has_a_space_or_a_reason_to_have_none() -> None:
    reasons = {
        RungName.POPULAR: "has no setting; popular_recent is the same over the last days",
        RungName.BLEND: "learns from the validation answers, by which a search is judged",
        RungName.TOWERS_FUSION: "is made of the towers of a climb",
    }
    assert set(SPACES) | set(reasons) == set(RungName)
    for name, reason in reasons.items():
        with pytest.raises(ConfigError, match=rf"^tune\.names: {name} {reason}"):
            space_of(name)


@pytest.mark.parametrize("name", [name for name in SPACES if name is not RungName.TOWERS])
def test_a_rung_can_be_fitted_at_both_ends_of_its_space(name: RungName, tmp_path: Path) -> None:
    dataset = make_world().dataset
    parts = split(dataset, SplitSettings())
    for end in (0, -1):
        chosen = {
            part.field: part.choices[end] if isinstance(part, Choices) else (part.low, part.high)[end]
            for part in SPACES[name]
        }
        fit_rung(name, dataset, parts, *with_fields(name, chosen, *DEFAULTS, "a test"), tmp_path)
