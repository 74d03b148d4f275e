import math
from dataclasses import dataclass, field

import pytest

from towers.errors import ConfigError
from towers.settings import bounded, check_ranges


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
