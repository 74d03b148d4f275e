"""What the towers are trained for, as settings."""

from dataclasses import dataclass, field
from enum import StrEnum

from towers.errors import ConfigError
from towers.objectives.hard_negatives import HardNegativeSettings
from towers.settings import bounded


class ObjectiveKind(StrEnum):
    """The loss: softmax over every item, over a sample, or a yes or no for each item by itself."""

    FULL_SOFTMAX = "full_softmax"
    SAMPLED_SOFTMAX = "sampled_softmax"
    BCE = "bce"
    GBCE = "gbce"


class NegativeKind(StrEnum):
    """Where negatives come from: any item, the batch's own targets, both, or any item by popularity.

    Stratified: any stratum of popularity alike, and any item of it.
    """

    UNIFORM = "uniform"
    IN_BATCH = "in_batch"
    MIXED = "mixed"
    POPULARITY = "popularity"
    STRATIFIED = "stratified"


class Correction(StrEnum):
    """What of the sampling is corrected: nothing, every score (Yi et al. 2019), or those that were sampled.

    The last is the default: it alone learns what the full softmax would (Khrylchenko et al. 2025).
    """

    NONE = "none"
    CLASSIC = "classic"
    EXACT = "exact"


class Routing(StrEnum):
    """How several interests learn."""

    BALANCED = "balanced"
    """Each target by one interest, the best for it, of which none may take more than its share of a batch."""
    TARGET = "target"
    """Each target by the best for it, as ComiRec does: one interest may end up with all of them."""
    MAX = "max"
    """Each target and negative by the best interest for it: the score that is served."""


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """What a position is asked, and against what.

    temperature: divides the cosine before the loss; smaller separates the best items more sharply.
    num_targets: the next so many events are targets, the t-th with a weight of 1 / t. One asks for the next
    alone, which ranks it best on every log tried; more of them ask for what comes soon. num_openings: of
    whoever has watched nothing, the first so many events are targets, all alike; 0 asks nothing of them.

    Of losses that sample: negatives, num_negatives: where from, and how many are drawn beside the batch's
    own.
    shared: drawn once for all positions; else for each apart, where they come from the catalogue.
    popularity_power: of an item's count, which its probability is in proportion to. num_strata: strata of
    about as many train events each, from the few most watched items to the many least watched.
    correction: of the sampled softmax. targets_compete: whether a position's targets are each other's
    negatives, as they are in the full softmax. mask_history: whether what the profile has watched is no
    negative.
    gbce_t: 0 is the plain binary loss, 1 the calibrated one.
    hard: negatives mined near the query, beside those that are drawn.

    matryoshka: numbers of dimensions that must rank by themselves, beside the whole; empty asks only for the
    whole. routing: what several interests learn from.
    """

    kind: ObjectiveKind = ObjectiveKind.FULL_SOFTMAX
    temperature: float = bounded(0.07, ge=1e-3)
    num_targets: int = bounded(1, ge=1)
    num_openings: int = bounded(20, ge=0)
    negatives: NegativeKind = NegativeKind.MIXED
    num_negatives: int = bounded(1024, ge=1)
    shared: bool = True
    popularity_power: float = bounded(0.75, ge=0, le=1)
    num_strata: int = bounded(4, ge=1)
    correction: Correction = Correction.EXACT
    targets_compete: bool = True
    mask_history: bool = False
    gbce_t: float = bounded(0.75, ge=0, le=1)
    hard: HardNegativeSettings = field(default_factory=HardNegativeSettings)
    matryoshka: list[int] = field(default_factory=list)
    routing: Routing = Routing.BALANCED

    def __post_init__(self) -> None:
        if min(self.matryoshka, default=1) < 1 or sorted(set(self.matryoshka)) != list(self.matryoshka):
            raise ConfigError(
                f"objective.matryoshka: found {list(self.matryoshka)}; expected rising numbers of dimensions"
            )
        in_batch = self.negatives in (NegativeKind.IN_BATCH, NegativeKind.MIXED)
        if self.kind is not ObjectiveKind.FULL_SOFTMAX and in_batch and not self.shared:
            raise ConfigError(
                f"objective.shared: false with negatives={self.negatives}; expected true: a batch is shared"
            )
