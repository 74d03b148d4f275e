"""How large the simulated service is, what moves its audience, and what is planted in its log."""

import math
from dataclasses import dataclass
from enum import StrEnum

from towers.data.simulator.titles import SUB_GENRES
from towers.settings import bounded


class Leak(StrEnum):
    """A column that gives the future away, as real logs have them."""

    NONE = "none"
    LIFETIME_PLAYS = "lifetime_plays"
    """`items.attributes` counts the plays of the whole log, those after any cut-off too."""
    LAST_TITLE = "last_title"
    """`profiles.attributes` names the title that the profile watched last."""


@dataclass(frozen=True, slots=True)
class SimulatedSettings:
    """A service of `num_events` watches; profiles and titles follow from it where they are not given.

    How a watch comes about, each a share of what the ones before it left over:
    accident_share: nobody meant it. row_share: from the row on the home page. rewatch_share: of a title
    watched before; five times as often by children. The rest is sought: sequence_share goes on from what was
    sought last (its sequel, else its sub-genre); of what is new taste_share follows the profile's tastes,
    person_share of that a person, and what follows no taste is of any sub-genre, by popularity.

    popularity_weight: how much the appeal of titles differs; popularity_drift: how far it wanders, in nats.
    position_bias: place k of the row is watched in proportion to k^-position_bias.
    arrival_share, cold_share: titles that arrive during the log, and as it ends, watched by nobody.
    sequel_share: titles that continue another. window_share: titles licensed for a time or for some
    countries. kids_share: profiles of children. query_share: sought watches that a search came before;
    typo_share: searches that are mistyped.

    Planted faults, off at 0: drift_rate: redraws of a taste per week. popularity_shock: by how many times its
    weight one title gains in one week. underserved: share of events that `underserved_segment` lacks, of
    licences too where it is a country; a segment of country, subdivision, language or age_band.
    leak: a column that knows the future.
    """

    num_events: int = bounded(60_000, ge=1, le=2**27)
    num_profiles: int | None = bounded(None, ge=1)
    num_items: int | None = bounded(None, ge=len(SUB_GENRES), le=1_000_000)
    seed: int = bounded(7, ge=0)
    accident_share: float = bounded(0.05, ge=0.0, lt=1.0)
    row_share: float = bounded(0.1, ge=0.0, le=1.0)
    rewatch_share: float = bounded(0.04, ge=0.0, le=0.5)
    sequence_share: float = bounded(0.35, ge=0.0, lt=1.0)
    taste_share: float = bounded(0.95, ge=0.0, le=1.0)
    person_share: float = bounded(0.35, ge=0.0, le=1.0)
    popularity_weight: float = bounded(1.0, ge=0.0, le=3.0)
    popularity_drift: float = bounded(0.3, ge=0.0, le=3.0)
    position_bias: float = bounded(1.0, ge=0.0, le=5.0)
    arrival_share: float = bounded(0.2, ge=0.0, le=0.5)
    cold_share: float = bounded(0.02, ge=0.0, le=0.3)
    sequel_share: float = bounded(0.05, ge=0.0, le=0.3)
    window_share: float = bounded(0.3, ge=0.0, le=0.9)
    kids_share: float = bounded(0.1, ge=0.0, le=0.5)
    query_share: float = bounded(0.06, ge=0.0, le=1.0)
    typo_share: float = bounded(0.15, ge=0.0, le=1.0)
    drift_rate: float = bounded(0.0, ge=0.0, le=1.0)
    popularity_shock: float = bounded(0.0, ge=0.0, le=1000.0)
    underserved: float = bounded(0.0, ge=0.0, le=0.9)
    underserved_segment: str = "country=KR"
    leak: Leak = Leak.NONE

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return f"simulated service, seed {self.seed}"

    @property
    def profiles(self) -> int:
        """Profiles of the service: those asked for, else one for every 30 events."""
        if self.num_profiles is not None:
            return self.num_profiles
        return max(1, self.num_events // 30)

    @property
    def items(self) -> int:
        """Titles: those asked for, else 1,800 for 60,000 events, growing as their 0.47th power."""
        if self.num_items is not None:
            return self.num_items
        by_events = round(1800 * math.pow(self.num_events / 60_000, 0.47))
        return min(100_000, max(len(SUB_GENRES), by_events))
