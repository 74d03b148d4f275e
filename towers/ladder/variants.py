"""Variants: rungs measured once more under other settings, each compared with the rung as it is climbed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from towers.errors import ConfigError
from towers.evaluation.bootstrap import Interval, paired_bootstrap
from towers.evaluation.significance import holm, sign_flip
from towers.ladder.changes import changed
from towers.ladder.rungs import RungName, RungSettings, settings_of
from towers.ladder.verdict import Measured
from towers.settings import check_ranges
from towers.training.settings import FitSettings


@dataclass(frozen=True, slots=True)
class Variant:
    """A rung under other settings.

    name: a word, of no rung and no other variant. rung: one that is climbed.
    settings: what differs, by the dotted keys of RungSettings (trees.objective), and of the rung `towers` by
    those of FitSettings below `towers` (towers.objective.temperature).
    """

    name: str
    rung: RungName
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def differs(self) -> str:
        """What differs, as it is said on a command line."""
        return ", ".join(f"{key}={_said(value)}" for key, value in self.settings.items())

    def of(self, rungs: RungSettings, towers: FitSettings, key: str) -> tuple[RungSettings, FitSettings]:
        """The settings as climbed, with those of the variant in their place; `key`: of the variant.

        Raises ConfigError, naming the full key, as `over` does, and where nothing differs.
        """
        found = self.over(rungs, towers, key)
        if found == (rungs, towers):
            raise ConfigError(
                f"{key}.settings: {self.differs or 'none'}; expected others than {self.rung} is climbed with"
            )
        return found

    def over(self, rungs: RungSettings, towers: FitSettings, key: str) -> tuple[RungSettings, FitSettings]:
        """As `of`, whether or not anything differs.

        Raises ConfigError, naming the full key, on a setting that the rung does not have and on a value of
        another type or out of range.
        """
        known = settings_of(self.rung)
        for name, value in self.settings.items():
            full_key = f"{key}.settings.{name}"
            first, *rest = path = name.split(".")
            if first not in known:
                expected = " or ".join(f"{each}.…" for each in known)
                raise ConfigError(f"{full_key}: no setting of {self.rung}; expected {expected}")
            if first == RungName.TOWERS:
                towers = changed(towers, rest, value, full_key)
            else:
                rungs = changed(rungs, path, value, full_key)
        check_ranges(rungs, f"{key}.settings")
        check_ranges(towers, f"{key}.settings.towers")
        return rungs, towers


@dataclass(frozen=True, slots=True)
class Compared:
    """A variant against its rung.

    difference: of N@10, with its 95 % interval. p_value: two-sided, corrected over all variants. Both are
    None where either of the two failed.
    """

    difference: Interval | None = None
    p_value: float | None = None


def check_variants(
    variants: Sequence[Variant], names: Sequence[str], rungs: RungSettings, towers: FitSettings | None
) -> None:
    """Raises ConfigError, naming the full key, on a variant that cannot be; `names` are climbed.

    towers: None where a recipe is still to choose them; then what a variant says of them may be the same.
    """
    # First what all are climbed with, so that no variant is blamed for it.
    check_ranges(rungs, "climb.rungs")
    if towers is not None:
        check_ranges(towers)
    taken = {name.value for name in RungName}
    for place, variant in enumerate(variants):
        key = f"climb.variants[{place}]"
        if not variant.name.isidentifier() or variant.name in taken:
            raise ConfigError(
                f"{key}.name: {variant.name!r}; expected a word, of no rung and no other variant"
            )
        taken.add(variant.name)
        if variant.rung not in names:
            raise ConfigError(f"{key}.rung: {variant.rung}; expected one that is climbed: {', '.join(names)}")
        of_towers = any(name.split(".")[0] == RungName.TOWERS for name in variant.settings)
        if towers is None and of_towers:
            variant.over(rungs, FitSettings(), key)
        else:
            variant.of(rungs, towers or FitSettings(), key)


def compare(
    pairs: Sequence[tuple[Measured | None, Measured | None]], *, seed: int = 0
) -> tuple[Compared, ...]:
    """Each variant, the first of its pair, against its rung on the same questions; None is a failed one.

    The interval is that of a paired bootstrap, for each by itself. The p-value is that of the paired
    sign-flip test, by Holm's correction over all that can be compared: to call those below 0.05 different is
    wrong about any of them one time in twenty at most. Raises QueryError where the two did not answer as many
    questions.
    """
    both = {
        place: (variant.value, rung.value)
        for place, (variant, rung) in enumerate(pairs)
        if variant is not None and rung is not None
    }
    p_values = holm([sign_flip(*values, seed=seed) for values in both.values()]).tolist()
    compared = {
        place: Compared(paired_bootstrap(*values, seed=seed), p_value)
        for (place, values), p_value in zip(both.items(), p_values, strict=True)
    }
    return tuple(compared.get(place, Compared()) for place in range(len(pairs)))


def _said(value: Any) -> str:
    """A plain value in Hydra's grammar."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case list():
            return f"[{','.join(map(_said, value))}]"
        case dict():
            return f"{{{','.join(f'{key}:{_said(inner)}' for key, inner in value.items())}}}"
        case _:
            return str(value)
