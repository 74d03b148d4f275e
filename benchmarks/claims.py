"""The claims of claims.toml: named figures with bounds, and what a figure says of its bound."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from towers.errors import TowersError

CLAIMS = Path(__file__).parent / "claims.toml"
"""The project's promises to its users."""


class BenchmarkError(TowersError, RuntimeError):
    """A claim is unknown, badly written, or could not be measured; the message says why."""


class Sign(StrEnum):
    """How a figure must compare with its bound."""

    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "=="


class Verdict(StrEnum):
    """What a figure says of its claim."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not yet measured"
    NEEDS_GPU = "needs GPU"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure must be: at least, at most or exactly a value."""

    sign: Sign
    value: float

    def __str__(self) -> str:
        return f"{self.sign} {spelled(self.value)}"

    def holds(self, figure: float) -> bool:
        """Whether a figure keeps the bound; NaN keeps none."""
        match self.sign:
            case Sign.AT_LEAST:
                return figure >= self.value
            case Sign.AT_MOST:
                return figure <= self.value
            case Sign.EQUAL:
                return figure == self.value


@dataclass(frozen=True, slots=True)
class Claim:
    """A promise: the figures that `make bench CLAIM=<name>` measures and their bounds."""

    name: str
    capability: str
    needs_gpu: bool
    bounds: Mapping[str, Bound]

    @property
    def module(self) -> str:
        """The module that measures the claim."""
        return f"benchmarks.{self.name.replace('-', '_')}"

    def verdict(self, key: str, figures: Mapping[str, float | None]) -> Verdict:
        """What measured figures say of one bound; a figure that is absent or null was not measured."""
        figure = figures.get(key)
        if figure is None:
            return Verdict.NEEDS_GPU if self.needs_gpu else Verdict.NOT_MEASURED
        return Verdict.MET if self.bounds[key].holds(figure) else Verdict.MISSED


def read_claims(path: Path = CLAIMS) -> dict[str, Claim]:
    """All claims by name, in the order of the file; BenchmarkError where one is badly written."""
    return {name: _claim(name, table, path) for name, table in tomllib.loads(path.read_text()).items()}


def spelled(figure: float) -> str:
    """A figure for people: whole numbers with separators, others with four significant digits."""
    if float(figure).is_integer():
        return f"{figure:,.0f}"
    return f"{figure:.4g}"


def _claim(name: str, table: object, path: Path) -> Claim:
    where = f"{path.name}: [{name}]"
    if not isinstance(table, dict) or not isinstance(table.get("capability"), str):
        raise BenchmarkError(f'{where} has no capability; expected capability = "…" and bounds')
    bounds = {
        key: _bound(value, f"{where} {key}")
        for key, value in table.items()
        if key not in ("capability", "gpu")
    }
    if not bounds:
        raise BenchmarkError(f'{where} promises nothing; expected bounds such as seconds = ["<=", 180]')
    return Claim(name, table["capability"], bool(table.get("gpu", False)), bounds)


def _bound(value: object, where: str) -> Bound:
    match value:
        case [str(sign), int(bound) | float(bound)] if sign in set(Sign):
            return Bound(Sign(sign), float(bound))
        case _:
            raise BenchmarkError(f"{where}: found {value!r}; expected [sign, number], sign one of >=, <=, ==")
