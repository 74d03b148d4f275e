"""The simulated profiles: households, children, where they live, and what of a title suits them."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from towers.data.simulator.catalogue import DECADES, LANGUAGE_OF, LANGUAGES, Catalogue, decade_row
from towers.data.simulator.tastes import Tastes, make_tastes
from towers.data.simulator.words import COUNTRIES, KIDS_AGE_BANDS, MATURITY

REGIONS = tuple(region for country in COUNTRIES for region in country.regions)
REGIONS_PER_COUNTRY = len(REGIONS) // len(COUNTRIES)
NUM_CLASSES = len(COUNTRIES) * len(DECADES)
"""Titles of one country of production and one decade suit a profile equally."""

_HEAD_SHARE = 0.5
LANGUAGE_OF_COUNTRY_SHARE = 0.85
ADULT_SHARES = np.array([0.16, 0.25, 0.22, 0.16, 0.12, 0.09])

# What suits, in nats.
_LANGUAGE_SUITS = 1.0
_COUNTRY_SUITS = 0.6
_DECADE_SUITS = 1.5


@dataclass(frozen=True, slots=True)
class Audience:
    """P profiles, one array entry each; those of a household stand together, its first is an adult.

    household: int64, from 0; kids: bool, a child's profile; cap: int64, the highest certificate it may watch.
    country: int64 rows of COUNTRIES; region: int64 rows of REGIONS; language: int64 rows of LANGUAGES;
    age_band: int64 rows of AGE_BANDS.
    era: float32, the year that feels like home.
    tastes: liked sub-genres and people, in force for a time.
    """

    household: Int64[np.ndarray, " P"]
    kids: Bool[np.ndarray, " P"]
    cap: Int64[np.ndarray, " P"]
    country: Int64[np.ndarray, " P"]
    region: Int64[np.ndarray, " P"]
    language: Int64[np.ndarray, " P"]
    age_band: Int64[np.ndarray, " P"]
    era: Float32[np.ndarray, " P"]
    tastes: Tastes

    def __len__(self) -> int:
        return len(self.country)

    def part(self, start: int, stop: int) -> "Audience":
        """The profiles start:stop alone."""
        columns = {
            field.name: getattr(self, field.name)[start:stop]
            for field in fields(self)
            if field.name != "tastes"
        }
        return Audience(tastes=self.tastes.part(start, stop), **columns)

    def suits(self, profile_row: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n K"]:
        """How each class of titles suits the profiles, in nats: language, country of production, decade."""
        language = self.language[profile_row, None] == LANGUAGE_OF
        home = self.country[profile_row, None] == np.arange(len(COUNTRIES))
        made = np.float32(_LANGUAGE_SUITS) * language + np.float32(_COUNTRY_SUITS) * home
        distance = (np.array(DECADES, np.float32) + 5 - self.era[profile_row, None]) / np.float32(12)
        when = np.float32(_DECADE_SUITS) * np.exp(-(distance**2))
        nats: np.ndarray = (made[:, :, None] + when[:, None, :]).astype(np.float32)
        return nats.reshape(len(profile_row), NUM_CLASSES)


def class_of(catalogue: Catalogue) -> UInt8[np.ndarray, " N"]:
    """uint8 (N,): the class of each title."""
    row: np.ndarray = catalogue.country * len(DECADES) + decade_row(catalogue.year)
    return row.astype(np.uint8)


def make_audience(
    rng: np.random.Generator, num_profiles: int, catalogue: Catalogue, kids_share: float, drift_rate: float
) -> Audience:
    """Profiles in households that share a country, a region and mostly a language."""
    is_head = rng.random(num_profiles) < _HEAD_SHARE
    is_head[0] = True
    household = np.cumsum(is_head) - 1
    head = np.flatnonzero(is_head)[household]
    kids = ~is_head & (rng.random(num_profiles) < kids_share / (1 - _HEAD_SHARE))
    share = np.array([country.profile_share for country in COUNTRIES])
    country = rng.choice(len(COUNTRIES), num_profiles, p=share / share.sum())[head]
    region = country * REGIONS_PER_COUNTRY + rng.integers(0, REGIONS_PER_COUNTRY, num_profiles)[head]
    settled = rng.random(num_profiles)[head] < LANGUAGE_OF_COUNTRY_SHARE
    language = np.where(settled, LANGUAGE_OF[country], rng.integers(0, len(LANGUAGES), num_profiles)[head])
    adult_band = len(KIDS_AGE_BANDS) + rng.choice(len(ADULT_SHARES), num_profiles, p=ADULT_SHARES)
    age_band = np.where(kids, rng.integers(0, len(KIDS_AGE_BANDS), num_profiles), adult_band)
    # The older the band, the earlier the years that feel like home; children's films do not age.
    era = 2018.0 - 6.0 * (age_band - len(KIDS_AGE_BANDS)) + rng.normal(0.0, 6.0, num_profiles)
    return Audience(
        household=household,
        kids=kids,
        cap=np.where(kids, age_band, len(MATURITY) - 1),
        country=country,
        region=region,
        language=language,
        age_band=age_band,
        era=np.where(kids, 2008.0, era).astype(np.float32),
        tastes=make_tastes(rng, catalogue, np.where(kids, len(COUNTRIES), country), drift_rate),
    )
