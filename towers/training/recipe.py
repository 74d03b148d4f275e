"""The recipe: how towers of a log are fitted, by stated rules over the log's statistics.

Every rule is one entry of `_model`, `_objective`, `_loader` or `_trainer`, with the sentence that says why;
their numbers stand above them. A rule sees what was given before it: a larger batch has the learning rate of
a larger batch, whoever chose it.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from towers.data.batches import LoaderSettings
from towers.data.days import SECONDS_PER_DAY
from towers.data.features import FeatureSettings
from towers.data.histories import runs
from towers.data.split import Split
from towers.nets.two_tower import ModelSettings, load_towers
from towers.nets.user_tower import TimeUse
from towers.objectives.settings import NegativeKind, ObjectiveKind, ObjectiveSettings
from towers.settings import Partly
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

log = logging.getLogger(__name__)

S = TypeVar("S")


class Preset(StrEnum):
    """What the recipe aims at."""

    FAST = "fast"
    """Most of the quality in a part of the time: to try things, and for a first release."""
    BEST = "best"
    """The quality that is reported: two members of twice that width, and half as many epochs more."""


_DIM = {Preset.FAST: 64, Preset.BEST: 256}
_NUM_MEMBERS = {Preset.FAST: 1, Preset.BEST: 2}
_EVENTS_PER_MOMENT, _PROFILES_PER_MOMENT = 3_300, 600
_FEWEST_DAYS = 1.0

_MOST_SCORED_ITEMS, _MOST_SCORED_ITEMS_GPU = 200_000, 1_000_000
_NUM_NEGATIVES = 4_096

_FEWEST_POSITIONS, _MOST_POSITIONS = 1_024, 65_536
_MOST_STEPS = 2_000

_MOST_EPOCHS = {Preset.FAST: 10, Preset.BEST: 15}
_FEWEST_EPOCHS = 2
_EVENTS_OF_MOST_EPOCHS = 100_000
_LEARNING_RATE, _HIGHEST_LEARNING_RATE = 3e-3, 1e-2
_PRIVATE_LEARNING_RATE = 1e-2
_AVERAGED_SHARE = 0.1
_LOWEST_EMA_DECAY, _HIGHEST_EMA_DECAY = 0.98, 0.9995

_SAMPLED_PROFILES, _SAMPLED_EVENTS = 2_000, 50
_EVERY_LOG = "the same for every log"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the rules read of a log, all of it train events.

    num_items: titles with an event. num_profiles: profiles with one. num_events: of all together.
    span_days: from the first to the last. timed: whether the times are real; a source without times numbers
    its events.
    """

    num_items: int
    num_profiles: int
    num_events: int
    span_days: float
    timed: bool

    @property
    def mean_length(self) -> float:
        """Events of a profile."""
        return self.num_events / self.num_profiles


def statistics(split: Split) -> Statistics:
    """The statistics of what a Split is learned from; of a mapped log, a few columns' ends and a sample."""
    first, last = split.learned_seconds
    return Statistics(
        num_items=int(split.seen.sum()),
        num_profiles=int((split.num_train > 0).sum()),
        num_events=int(split.num_train.sum()),
        span_days=(last - first) / SECONDS_PER_DAY,
        timed=last > first and not _numbered(split),
    )


def _numbered(split: Split) -> bool:
    """Whether most events are one second after the one before, as `towers.data.sources.sequences` has them.

    In logs with real times few are. A sample of the profiles is looked at.
    """
    profile = np.flatnonzero(split.num_train > 1)
    profile = profile[:: 1 + len(profile) // _SAMPLED_PROFILES]
    num_events = np.minimum(split.num_train[profile], _SAMPLED_EVENTS)
    gap = np.diff(split.learned.time_seconds[runs(split.learned.offset[profile], num_events)])
    within = np.ones(len(gap), bool)
    within[np.cumsum(num_events)[:-1] - 1] = False
    return bool((gap[within] == 1).sum() * 2 > within.sum())


@dataclass(frozen=True, slots=True)
class GivenSettings:
    """What a user gives of FitSettings; the recipe decides the rest."""

    model: Partly[ModelSettings] = field(default_factory=partial(Partly, ModelSettings))
    objective: Partly[ObjectiveSettings] = field(default_factory=partial(Partly, ObjectiveSettings))
    loader: Partly[LoaderSettings] = field(default_factory=partial(Partly, LoaderSettings))
    trainer: Partly[TrainerSettings] = field(default_factory=partial(Partly, TrainerSettings))
    seed: int = 0
    features: FeatureSettings = field(default_factory=FeatureSettings)
    warm_start: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A value, and why it is that. key: dotted, of FitSettings; inside of a group's rules, of the group."""

    key: str
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What towers are fitted under, and how it came about.

    choices: of every value that a rule chose or a user gave; all others are the settings' defaults.
    """

    fit: FitSettings
    preset: Preset
    gpu: bool
    statistics: Statistics
    choices: tuple[Choice, ...]

    def to_json(self) -> dict[str, Any]:
        """How it came about, as plain values."""
        why = {choice.key: choice.why for choice in self.choices}
        return {
            "preset": self.preset.value,
            "gpu": self.gpu,
            "statistics": asdict(self.statistics),
            "why": why,
        }


def recipe(
    statistics: Statistics, preset: Preset, given: GivenSettings | None = None, *, gpu: bool = False
) -> Settled:
    """The settings for a log, with what is given in place of what the rules would choose.

    gpu: whether training has one. Towers that go on from an export have the model of the export, unless
    another is given. Raises ConfigError where what is given does not go together, and as `load_towers` does.
    """
    given = given or GivenSettings()
    s = statistics
    interests: int = given.model.values.get("num_interests", 1)
    private = given.trainer.values.get("dp") is not None
    rules = _model(s, preset, interests) if given.warm_start is None else _model_of(Path(given.warm_start))
    if private:
        rules = _over(rules, _private_model())
    model, of_model = _settled("model", ModelSettings(), rules, given.model)
    wanted: ObjectiveKind | None = given.objective.values.get("kind")
    objective, of_objective = _settled(
        "objective", ObjectiveSettings(), _objective(s, gpu, wanted), given.objective
    )
    loader, of_loader = _settled("loader", LoaderSettings(), _loader(s), given.loader)
    training = _trainer(s, preset, loader)
    if private:
        training = _over(training, _private_trainer())
    trainer, of_trainer = _settled("trainer", TrainerSettings(), training, given.trainer)
    fit = FitSettings(
        model, objective, loader, trainer, given.seed, given.features, warm_start=given.warm_start
    )
    choices = (*of_model, *of_objective, *of_loader, *of_trainer)
    chosen = " ".join(f"{choice.key}={choice.value}" for choice in choices)
    log.info("settled recipe=%s num_items=%d num_events=%d %s", preset, s.num_items, s.num_events, chosen)
    return Settled(fit, preset, gpu, s, choices)


def trains_on_gpu(accelerator: Accelerator | None) -> bool:
    """Whether this machine trains on a GPU; None is `auto`."""
    match accelerator:
        case Accelerator.CPU:
            return False
        case Accelerator.GPU:
            return True
        case Accelerator.AUTO | None:
            return torch.cuda.is_available()


def _moment_days(s: Statistics) -> float:
    # A moment of few profiles would be what those few watched: their sessions, not what everybody asks for.
    num_moments = min(s.num_events / _EVENTS_PER_MOMENT, s.num_profiles / _PROFILES_PER_MOMENT)
    return 0.0 if num_moments < 2 else round(max(_FEWEST_DAYS, s.span_days / num_moments), 2)


def _model(s: Statistics, preset: Preset, num_interests: int) -> list[Choice]:
    """num_interests: what a user gave; several are of one pair of towers."""
    num_members = _NUM_MEMBERS[preset] if num_interests == 1 else 1
    members = "pairs of towers share the width, and their errors cancel: best has two, fast one"
    moments = [
        Choice("time", TimeUse.REQUEST, "the events' times are real: when it is asked says what is wanted"),
        Choice(
            "moment_days",
            _moment_days(s),
            f"{_EVENTS_PER_MOMENT:,} events and {_PROFILES_PER_MOMENT} profiles for each moment, "
            "a day at least; none of fewer than two",
        ),
        Choice("age_share", 0.25, "where titles have a day of release: what is new is asked for as such"),
    ]
    order = [
        Choice("time", TimeUse.NONE, "the events' times are their numbers: only their order says anything")
    ]
    return [
        Choice("dim", _DIM[preset], f"the width of {preset}: fast has 64, best has 256"),
        Choice("num_members", num_members, members if num_interests == 1 else "interests are of one pair"),
        Choice("num_layers", 1, _EVERY_LOG),
        Choice("num_heads", 2, _EVERY_LOG),
        Choice("max_history", 50, _EVERY_LOG),
        *(moments if s.timed else order),
        Choice("dropout", 0.2, _EVERY_LOG),
        Choice("item_dropout", 0.0, _EVERY_LOG),
        Choice("embedding_dropout", 0.15, _EVERY_LOG),
    ]


def _model_of(export: Path) -> list[Choice]:
    found = load_towers(export).settings
    why = "as in the export"
    return [Choice(item.name, getattr(found, item.name), why) for item in fields(found)]


def _objective(s: Statistics, gpu: bool, given: ObjectiveKind | None) -> list[Choice]:
    """given: the kind, where a user chose it."""
    most, where = (_MOST_SCORED_ITEMS_GPU, "a GPU") if gpu else (_MOST_SCORED_ITEMS, "a CPU")
    up_to = f"{s.num_items:,} titles; up to {most:,} {where} can score in every step"
    kind, why = (
        (ObjectiveKind.FULL_SOFTMAX, f"{up_to}: nothing is sampled")
        if s.num_items <= most
        else (ObjectiveKind.SAMPLED_SOFTMAX, f"{up_to}: beyond, scoring all is most of the cost of a step")
    )
    sampled = [
        Choice(
            "negatives",
            NegativeKind.MIXED,
            "the batch's own titles cost nothing, uniform ones reach the tail",
        ),
        Choice("num_negatives", _NUM_NEGATIVES, "beside the batch's own; more cost more than they add"),
    ]
    return [
        Choice("kind", kind, why),
        Choice("temperature", 0.07, _EVERY_LOG),
        Choice("num_targets", 1, _EVERY_LOG),
        *(sampled if (given or kind) is not ObjectiveKind.FULL_SOFTMAX else ()),
    ]


def _loader(s: Statistics) -> list[Choice]:
    """Positions = the power of two from events / 2,000 on, between 1,024 and 65,536."""
    wanted = max(_FEWEST_POSITIONS, s.num_events / _MOST_STEPS)
    positions = min(1 << (ceil(wanted) - 1).bit_length(), _MOST_POSITIONS)
    why = f"{_FEWEST_POSITIONS:,}, and twice that until an epoch has {_MOST_STEPS:,} steps at the most"
    return [Choice("batch_positions", positions, why)]


def _trainer(s: Statistics, preset: Preset, loader: LoaderSettings) -> list[Choice]:
    """Epochs = E √(100,000 / events), from 2 to E: 100 times the events learn 10 times the positions."""
    most, batch = _MOST_EPOCHS[preset], loader.batch_positions
    epochs = round(most * sqrt(_EVENTS_OF_MOST_EPOCHS / s.num_events))
    epochs = min(most, max(_FEWEST_EPOCHS, epochs))
    # Not of the epochs that are given: a run that is taken up again for more of them must be the same run.
    steps = epochs * ceil(s.num_events / batch)
    rate = min(_HIGHEST_LEARNING_RATE, _LEARNING_RATE * sqrt(batch / _FEWEST_POSITIONS))
    decay = 1.0 - 1.0 / (_AVERAGED_SHARE * steps)
    decay = min(_HIGHEST_EMA_DECAY, max(_LOWEST_EMA_DECAY, decay))
    return [
        Choice(
            "max_epochs",
            epochs,
            f"{most} up to {_EVENTS_OF_MOST_EPOCHS:,} events, falling with the root of more",
        ),
        Choice("patience", max(2, ceil(epochs / 4)), "a quarter of the epochs"),
        Choice(
            "learning_rate",
            round(rate, 6),
            f"{_LEARNING_RATE:g} for batches of {_FEWEST_POSITIONS:,}, rising with the root of their size: "
            f"{batch:,}",
        ),
        Choice("weight_decay", 0.05, _EVERY_LOG),
        Choice("ema_decay", round(decay, 6), f"a tenth of {steps:,} steps is averaged, within bounds"),
    ]


def _private_model() -> list[Choice]:
    why = "with trainer.dp: the noise keeps from learning by heart"
    return [Choice("dropout", 0.0, why), Choice("embedding_dropout", 0.0, why)]


def _private_trainer() -> list[Choice]:
    why = "with trainer.dp: the steps are few, and each a mean over many profiles"
    return [Choice("learning_rate", _PRIVATE_LEARNING_RATE, why)]


def _over(rules: Sequence[Choice], others: Sequence[Choice]) -> list[Choice]:
    """The rules, with others in the place of those of the same key."""
    return list(({rule.key: rule for rule in rules} | {rule.key: rule for rule in others}).values())


def _settled(
    group: str, default: S, rules: Sequence[Choice], given: Partly[S]
) -> tuple[S, tuple[Choice, ...]]:
    """The settings of a group, what is given over what the rules choose, and why each value is what it is."""
    by_rule = {rule.key: rule for rule in rules}
    values = {key: rule.value for key, rule in by_rule.items()}
    settings = given.over(replace(default, **values), group)  # type: ignore[type-var]  # a dataclass
    asked = _by_key(given)
    why = {rule.key: rule.why for rule in rules}
    why |= {key: f"given; the recipe has {values[key]}" if key in values else "given" for key in asked}
    values |= asked
    return settings, tuple(Choice(f"{group}.{key}", values[key], why[key]) for key in values)


def _by_key(given: Partly[Any], prefix: str = "") -> dict[str, Any]:
    """What is given, by dotted key."""
    found: dict[str, Any] = {}
    for name, value in given.values.items():
        found |= _by_key(value, f"{prefix}{name}.") if isinstance(value, Partly) else {prefix + name: value}
    return found
