import json
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import ConfigError
from towers.settings import Partly, bounded, check_ranges, settings_from_plain


@dataclass(frozen=True, slots=True)
class Inner:
    share: float = bounded(0.5, gt=0.0, lt=1.0)


@dataclass(frozen=True, slots=True)
class Outer:
    count: int = bounded(3, ge=1, le=9)
    limit: int | None = bounded(None, ge=1)
    free: float = -7.0
    inner: Inner = field(default_factory=Inner)


def test_defaults_and_the_ends_of_closed_ranges_pass() -> None:
    check_ranges(Outer())
    check_ranges(Outer(count=1))
    check_ranges(Outer(count=9))


def test_none_passes_where_a_range_is_declared() -> None:
    check_ranges(Outer(limit=None))
    with pytest.raises(ConfigError, match=r"^limit: 0 is out of range; expected >= 1$"):
        check_ranges(Outer(limit=0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Outer(count=0), "count: 0 is out of range; expected >= 1"),
        (Outer(count=10), "count: 10 is out of range; expected <= 9"),
        (Outer(inner=Inner(share=0.0)), "inner.share: 0.0 is out of range; expected > 0.0"),
        (Outer(inner=Inner(share=1.0)), "inner.share: 1.0 is out of range; expected < 1.0"),
        (Outer(inner=Inner(share=math.nan)), "inner.share: nan is out of range; expected > 0.0"),
    ],
)
def test_a_value_out_of_range_is_named_by_its_full_key(settings: Outer, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_ranges(settings)
    assert str(error.value) == message


def test_the_key_of_the_settings_themselves_comes_first() -> None:
    with pytest.raises(ConfigError, match=r"^data\.inner\.share: 2\.0 is out of range"):
        check_ranges(Outer(inner=Inner(share=2.0)), "data")


def test_a_configuration_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="count"):
        check_ranges(Outer(count=0))


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Paint:
    colour: Colour = Colour.RED
    layers: int = bounded(2, ge=1)
    gloss: float = bounded(0.5, le=1.0)
    dry: bool = False


PLAIN: dict[str, Any] = {"colour": "blue", "layers": 3, "gloss": 1, "dry": True}


def test_settings_that_became_json_come_back() -> None:
    paint = Paint(Colour.BLUE, 3, 0.25, True)
    assert settings_from_plain(Paint, json.loads(json.dumps(asdict(paint))), "paint") == paint
    assert settings_from_plain(Paint, PLAIN, "paint") == Paint(Colour.BLUE, 3, 1.0, True)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (None, "paint: NoneType; expected the settings"),
        ([], "paint: list; expected the settings"),
        (
            {name: PLAIN[name] for name in ("layers", "gloss", "dry")},
            r"paint: \['dry', 'gloss', 'layers'\]; exp",
        ),
        (PLAIN | {"smell": 1}, "'smell'"),
        (PLAIN | {"colour": "green"}, r"paint\.colour: 'green'; expected one of red, blue"),
        (PLAIN | {"colour": ["red"]}, r"paint\.colour: \['red'\]; expected one of"),
        (PLAIN | {"layers": "3"}, r"paint\.layers: '3'; expected int"),
        (PLAIN | {"layers": 3.0}, r"paint\.layers: 3\.0; expected int"),
        (PLAIN | {"layers": True}, r"paint\.layers: True; expected int"),
        (PLAIN | {"gloss": None}, r"paint\.gloss: None; expected float"),
        (PLAIN | {"dry": 1}, r"paint\.dry: 1; expected bool"),
        (PLAIN | {"layers": 0}, r"paint\.layers: 0 is out of range"),
    ],
)
def test_plain_settings_that_are_not_whole_are_refused_by_key(plain: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_from_plain(Paint, plain, "paint")


outers = st.builds(
    Outer,
    count=st.integers(1, 9),
    limit=st.none() | st.integers(1),
    free=st.floats(allow_nan=False),
    inner=st.builds(Inner, share=st.floats(0.01, 0.99)),
)
parts: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(1, 9),
        "limit": st.integers(1),
        "free": st.floats(allow_nan=False),
        "inner": st.fixed_dictionaries({}, optional={"share": st.floats(0.01, 0.99)}).map(
            lambda values: Partly(Inner, values)
        ),
    },
)


@given(outers, parts)
def test_what_is_given_partly_is_changed_and_nothing_else(default: Outer, values: dict[str, Any]) -> None:
    found = Partly(Outer, values).over(default)
    for name in ("count", "limit", "free"):
        assert getattr(found, name) == values.get(name, getattr(default, name))
    given_share = values["inner"].values.get("share") if "inner" in values else None
    assert found.inner.share == (default.inner.share if given_share is None else given_share)


@given(parts, parts, outers)
def test_what_is_also_given_wins_over_what_was_given(
    first: dict[str, Any], second: dict[str, Any], default: Outer
) -> None:
    also = Partly(Outer, first).also({name: second[name] for name in second if name != "inner"})
    without = {name: value for name, value in second.items() if name != "inner"}
    assert also.over(default) == Partly(Outer, without).over(Partly(Outer, first).over(default))


def test_settings_given_partly_are_equal_where_the_same_is_given() -> None:
    assert Partly(Outer, {"count": 3}) == Partly(Outer, {"count": 3})
    assert Partly(Outer, {"count": 3}) != Partly(Outer)


def test_a_part_is_refused_where_a_whole_would_be() -> None:
    inner = Partly(Inner, {"share": 2.0})
    for check in (check_ranges, lambda part, key: part.over(Outer(), key)):
        with pytest.raises(ConfigError, match=r"^job\.outer\.count: 0 is out of range; expected >= 1$"):
            check(Partly(Outer, {"count": 0}), "job.outer")
        with pytest.raises(ConfigError, match=r"^job\.outer\.inner\.share: 2\.0 is out of range"):
            check(Partly(Outer, {"inner": inner}), "job.outer")
    with pytest.raises(
        ConfigError, match=r"^cuont: no setting of Outer; expected some of count, limit, free"
    ):
        Partly(Outer, {"cuont": 3})
