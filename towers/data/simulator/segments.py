"""Segments of the simulated profiles: which are planted to be under-served, and how likely each is drawn."""

import numpy as np
from jaxtyping import Bool

from towers.data.simulator.audience import ADULT_SHARES, LANGUAGE_OF_COUNTRY_SHARE, REGIONS, Audience
from towers.data.simulator.catalogue import LANGUAGE_OF, LANGUAGES
from towers.data.simulator.words import AGE_BANDS, COUNTRIES, KIDS_AGE_BANDS
from towers.errors import ConfigError

_VALUES = {
    "country": tuple(country.code for country in COUNTRIES),
    "subdivision": REGIONS,
    "language": LANGUAGES,
    "age_band": AGE_BANDS,
}


def members(audience: Audience, segment: str) -> Bool[np.ndarray, " P"]:
    """Which profiles a segment holds, as in country=KR. Raises ConfigError where there is no such segment."""
    dimension, row = _parsed(segment)
    of_profile = {
        "country": audience.country,
        "subdivision": audience.region,
        "language": audience.language,
        "age_band": audience.age_band,
    }
    held: np.ndarray = of_profile[dimension] == row
    return held


def country_of(segment: str) -> int | None:
    """The row of COUNTRIES that a segment is; None where it is something else."""
    dimension, row = _parsed(segment)
    return row if dimension == "country" else None


def population(kids_share: float) -> dict[str, dict[str, float]]:
    """The share of profiles that each segment is drawn with, by dimension: the truth of an audit."""
    share = np.array([country.profile_share for country in COUNTRIES])
    share = share / share.sum()
    language = np.full(len(LANGUAGES), (1 - LANGUAGE_OF_COUNTRY_SHARE) / len(LANGUAGES))
    np.add.at(language, LANGUAGE_OF, LANGUAGE_OF_COUNTRY_SHARE * share)
    kids = np.full(len(KIDS_AGE_BANDS), kids_share / len(KIDS_AGE_BANDS))
    shares = {
        "country": share,
        "subdivision": np.repeat(share, len(REGIONS) // len(COUNTRIES)) / (len(REGIONS) // len(COUNTRIES)),
        "language": language,
        "age_band": np.concatenate([kids, (1 - kids_share) * ADULT_SHARES]),
    }
    return {
        dimension: dict(zip(_VALUES[dimension], found.tolist(), strict=True))
        for dimension, found in shares.items()
    }


def _parsed(segment: str) -> tuple[str, int]:
    dimension, _, value = segment.partition("=")
    if value not in _VALUES.get(dimension, ()):
        known = ", ".join(_VALUES[dimension]) if dimension in _VALUES else ", ".join(_VALUES)
        raise ConfigError(f"simulated.underserved_segment: {segment!r}; expected dimension=value of {known}")
    return dimension, _VALUES[dimension].index(value)
