"""What a hyper-parameter search may try, rung by rung."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from towers.errors import ConfigError
from towers.ladder.rungs import RungName

Plain = bool | int | float | str | None
"""A setting's value as JSON has it."""


@dataclass(frozen=True, slots=True)
class Floats:
    """Numbers from low to high, both included; log: equal ratios are equally likely, so low is above 0."""

    field: str
    low: float
    high: float
    log: bool = False

    def holds(self, value: Plain) -> bool:
        """Whether a search could try this value."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def spelled(self) -> str:
        """What may be tried, in words."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Ints:
    """Whole numbers from low to high, both included; log: as in Floats."""

    field: str
    low: int
    high: int
    log: bool = False

    def holds(self, value: Plain) -> bool:
        """Whether a search could try this value."""
        return isinstance(value, int) and self.low <= value <= self.high

    @property
    def spelled(self) -> str:
        """What may be tried, in words."""
        return f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Choices:
    """Values without an order."""

    field: str
    choices: tuple[str | int, ...]

    def holds(self, value: Plain) -> bool:
        """Whether a search could try this value."""
        return value in self.choices

    @property
    def spelled(self) -> str:
        """What may be tried, in words."""
        return ", ".join(map(str, self.choices))


Parameter = Floats | Ints | Choices
Space = tuple[Parameter, ...]

# A decay of 0 is none; a thousandth per place of the history is as good as none.
_NO_DECAY = 1e-3

SPACES: Mapping[RungName, Space] = MappingProxyType(
    {
        RungName.POPULAR_RECENT: (Floats("recent.days", 1.0, 90.0, log=True),),
        RungName.POPULAR_DECAYED: (Floats("decayed.half_life_days", 1.0, 1_000.0, log=True),),
        RungName.POPULAR_BY_COUNTRY: (Floats("country.prior_events", 1.0, 1e5, log=True),),
        RungName.TRENDING: (
            Floats("trending.days", 1.0, 60.0, log=True),
            Floats("trending.before_days", 7.0, 365.0, log=True),
            Floats("trending.smoothing", 1.0, 1_000.0, log=True),
        ),
        RungName.GENRE_AFFINITY: (
            Floats("affinity.recency", _NO_DECAY, 2.0, log=True),
            Floats("affinity.prior_events", 0.1, 100.0, log=True),
        ),
        RungName.MORE_OF: (
            Ints("more_of.num_titles", 1, 50, log=True),
            Ints("more_of.num_cast", 1, 20, log=True),
            Floats("more_of.recency", _NO_DECAY, 2.0, log=True),
            Floats("more_of.popularity", 0.0, 2.0),
        ),
        RungName.CONTINUE_WATCHING: (Ints("continuing.num_ahead", 1, 10),),
        RungName.ITEM_KNN: (
            Ints("item_knn.num_neighbours", 10, 1_000, log=True),
            Floats("item_knn.shrinkage", 0.1, 1_000.0, log=True),
            Floats("item_knn.recency", _NO_DECAY, 2.0, log=True),
        ),
        RungName.PROFILE_KNN: (
            Ints("profile_knn.num_neighbours", 10, 1_000, log=True),
            Floats("profile_knn.shrinkage", 0.1, 1_000.0, log=True),
            Floats("profile_knn.recency", _NO_DECAY, 2.0, log=True),
            Floats("profile_knn.popularity", 0.0, 1.0),
        ),
        RungName.MARKOV: (
            Ints("markov.window", 1, 50, log=True),
            Floats("markov.decay", 0.3, 1.0),
            Ints("markov.num_recent", 5, 200, log=True),
            Floats("markov.popularity", 0.0, 1.0),
        ),
        RungName.LINEAR: (
            Floats("linear.logistic.inverse_penalty", 1e-4, 100.0, log=True),
            Ints("linear.examples.num_questions", 1, 10),
            Ints("linear.examples.num_negatives", 20, 200, log=True),
            Ints("linear.candidates.num_per_rung", 50, 400, log=True),
        ),
        RungName.TREES: (
            Choices("trees.objective", ("lambdarank", "binary")),
            Ints("trees.num_trees", 30, 500, log=True),
            Ints("trees.num_leaves", 4, 63, log=True),
            Floats("trees.learning_rate", 0.01, 0.3, log=True),
            Ints("trees.min_examples", 5, 500, log=True),
            Floats("trees.ridge", 0.01, 100.0, log=True),
            Ints("trees.examples.num_questions", 1, 10),
        ),
        RungName.EASE: (
            Floats("ease.regularisation", 1.0, 1e4, log=True),
            Floats("ease.recency", _NO_DECAY, 2.0, log=True),
        ),
        RungName.IALS: (
            Ints("ials.num_factors", 8, 256, log=True),
            Floats("ials.regularisation", 0.1, 1_000.0, log=True),
            Floats("ials.confidence", 0.1, 100.0, log=True),
            Ints("ials.iterations", 3, 30, log=True),
            Floats("ials.recency", _NO_DECAY, 2.0, log=True),
        ),
        RungName.FUSION: (
            Floats("fusion.damping", 1.0, 1_000.0, log=True),
            Ints("fusion.depth", 20, 500, log=True),
        ),
        RungName.TOWERS: (
            Floats("towers.trainer.learning_rate", 5e-4, 3e-2, log=True),
            Floats("towers.trainer.weight_decay", 1e-4, 1.0, log=True),
            Floats("towers.objective.temperature", 0.02, 0.3, log=True),
            Ints("towers.objective.num_targets", 1, 10),
            Choices("towers.model.dim", (32, 64, 128, 192, 256)),
            Floats("towers.model.dropout", 0.0, 0.5),
            Floats("towers.model.id_dropout", 0.0, 0.5),
        ),
    }
)
"""Of each rung that can be searched: dotted keys of RungSettings, or of FitSettings below `towers`."""


def space_of(name: RungName) -> Space:
    """What may be tried of a rung. Raises ConfigError for a rung that cannot be searched, saying why."""
    match name:
        case RungName.POPULAR:
            why = "has no setting; popular_recent is the same over the last days"
        case RungName.BLEND:
            why = "learns from the validation answers, by which a search is judged"
        case RungName.TOWERS_FUSION:
            why = "is made of the towers of a climb; search towers and fusion"
        case _:
            return SPACES[name]
    raise ConfigError(f"tune.names: {name} {why}; expected some of {', '.join(SPACES)}")
