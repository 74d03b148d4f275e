"""What the towers are trained for, as settings."""

from dataclasses import dataclass, field
from enum import StrEnum

from towers.data.features import ATTRIBUTE
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

    Stratified: a stratum of items first, and then any item of it.
    """

    UNIFORM = "uniform"
    IN_BATCH = "in_batch"
    MIXED = "mixed"
    POPULARITY = "popularity"
    STRATIFIED = "stratified"


POPULARITY = "popularity"
"""Strata of items that are watched about as much, in place of a column's name."""
STRATA_COLUMNS = (
    "genres",
    "sub_genres",
    "countries",
    "language",
    "maturity",
    "release_year",
    "series_id",
    "directors",
    "cast",
)
"""Columns of the items table whose values many titles share."""


class Correction(StrEnum):
    """What of the sampling is corrected: nothing, every score (Yi et al. 2019), or those that were sampled.

    The last is the default: it alone learns what the full softmax would (Khrylchenko et al. 2025).
    """

    NONE = "none"
    CLASSIC = "classic"
    EXACT = "exact"


class Frequencies(StrEnum):
    """How probable an item is among the targets of a batch."""

    COUNTED = "counted"
    """Its train events over all of them, counted before the first step."""
    STREAMED = "streamed"
    """As the steps so far have shown it, the last ones most: of a log that is not mixed as a whole."""


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
    popularity_power: of an item's count, which its probability is in proportion to.
    strata: what the items of one have in common: popularity, or a value of a column of the items table (one
    of STRATA_COLUMNS, or attributes.<name>), by which mixed negatives are drawn too, those beside the batch's
    own. An item of several values is in each stratum in equal parts; those of none are a stratum.
    num_strata: of popularity, of about as many train events each, from the few most watched items to the many
    least watched. strata_power: of a stratum's size, which its probability is in proportion to: 0 draws all
    strata alike, 1 all items.
    correction: of the sampled softmax. targets_compete: whether a position's targets are each other's
    negatives, as they are in the full softmax. mask_history: whether what the profile has watched is no
    negative. frequencies: what the correction of a batch's own negatives goes by. stream_rate: of those that
    are streamed, the share of a new occurrence of an item; about 1 / stream_rate are remembered.
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
    strata: str = POPULARITY
    num_strata: int = bounded(4, ge=1)
    strata_power: float = bounded(0.0, ge=0, le=1)
    correction: Correction = Correction.EXACT
    frequencies: Frequencies = Frequencies.COUNTED
    stream_rate: float = bounded(0.01, gt=0, lt=1)
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
        self._check_strata()
        corrected = self.kind is ObjectiveKind.SAMPLED_SOFTMAX and self.correction is not Correction.NONE
        if self.frequencies is Frequencies.STREAMED and not (corrected and in_batch):
            raise ConfigError(
                f"objective.frequencies: {self.frequencies} with kind={self.kind}, "
                f"negatives={self.negatives}, correction={self.correction}: the correction of a batch's own "
                "negatives alone goes by them; expected kind=sampled_softmax, negatives=in_batch or mixed, "
                "correction=exact or classic"
            )

    @property
    def by_column(self) -> bool:
        """Whether the strata are those of a column of the items table."""
        return self.strata != POPULARITY

    def _check_strata(self) -> None:
        """Raises ConfigError where strata are asked for of what has none, or of a loss that draws nothing."""
        attribute = self.strata.startswith(ATTRIBUTE) and self.strata != ATTRIBUTE
        if self.by_column and self.strata not in STRATA_COLUMNS and not attribute:
            raise ConfigError(
                f"objective.strata: {self.strata!r}; expected {POPULARITY}, {', '.join(STRATA_COLUMNS)} or "
                f"{ATTRIBUTE}<name>"
            )
        if self.kind is ObjectiveKind.FULL_SOFTMAX:
            if self.by_column or self.negatives is NegativeKind.STRATIFIED:
                what = f"strata: {self.strata}" if self.by_column else f"negatives: {self.negatives}"
                raise ConfigError(
                    f"objective.{what} with kind={self.kind}: every item is a negative there, none is drawn; "
                    "expected objective.kind=sampled_softmax, bce or gbce"
                )
        elif self.by_column and self.negatives not in (NegativeKind.STRATIFIED, NegativeKind.MIXED):
            raise ConfigError(
                f"objective.strata: {self.strata} with negatives={self.negatives}, which draw by no strata; "
                "expected objective.negatives=stratified or mixed"
            )
