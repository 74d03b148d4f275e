"""What is checked of every call in tests: shapes, other types, and what dataclasses are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jaxtyping
import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import Float32, TypeCheckError

from towers.data.vocabulary import Vocabulary
from towers.evaluation.metrics import coverage

WIDE, HIGH = np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32)


@jaxtyping.jaxtyped(typechecker=beartype)
@dataclass
class Named:
    name: str


@jaxtyping.jaxtyped(typechecker=beartype)
@dataclass
class Pair:
    left: Float32[np.ndarray, "A B"]
    right: Float32[np.ndarray, "A B"]


def made_within() -> Callable[..., Any]:
    """A function within a function, with shapes in its hints."""

    @jaxtyping.jaxtyped(typechecker=beartype)
    def joined(
        left: Float32[np.ndarray, "A B"], sides: tuple[Float32[np.ndarray, "A B"], ...]
    ) -> Float32[np.ndarray, "A B"]:
        return left if len(sides) == 1 else left.T

    return joined


def test_packages_are_checked() -> None:
    with pytest.raises(TypeCheckError, match="item_row"):
        coverage(np.zeros(3, np.int64), 1, num_items=3)
    with pytest.raises(BeartypeCallHintParamViolation, match="ids"):
        Vocabulary(3)  # type: ignore[arg-type]
    with pytest.raises(BeartypeCallHintParamViolation, match="id_"):
        Vocabulary(["a"]).row(3)  # type: ignore[arg-type]


def test_shapes_agree_across_arguments_and_results() -> None:
    joined = made_within()
    assert joined(WIDE, (WIDE,)) is WIDE
    with pytest.raises(TypeCheckError, match="sides"):
        joined(WIDE, (HIGH,))
    with pytest.raises(TypeCheckError, match="return value"):
        joined(WIDE, (WIDE, WIDE))


def test_dataclasses_are_made_of_what_they_say() -> None:
    Pair(WIDE, WIDE)
    with pytest.raises(TypeCheckError, match="right"):
        Pair(WIDE, HIGH)
    with pytest.raises(BeartypeCallHintParamViolation, match="name"):
        Named(3)  # type: ignore[arg-type]


def test_what_names_no_array_and_is_made_at_every_call_costs_nothing() -> None:
    def plain(number: int) -> int:
        return number

    assert jaxtyping.jaxtyped(plain, typechecker=beartype) is plain
