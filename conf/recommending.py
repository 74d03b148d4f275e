"""What the jobs that show or write recommendations can be told: recommend.py and recommend_all.py."""

from dataclasses import dataclass

from conf.structured import register
from towers.data.signals.countries import country_codes
from towers.errors import ConfigError
from towers.settings import bounded


@dataclass(frozen=True, slots=True)
class RecommendSettings:
    """What recommend.py shows of the current release of `artifacts`.

    profile: one profile; similar: one item; search: a text. With none of them, a sample of each: three
    profiles, a title and a search. country: of the request, ISO 3166-1 alpha-2, where it differs from the
    profile's.
    store_key: the keys that the release may be sealed under, a path or env:NAME.
    """

    artifacts: str = "artifacts"
    profile: str | None = None
    similar: str | None = None
    search: str | None = None
    country: str | None = None
    k: int = bounded(10, ge=1)
    store_key: str | None = None

    def __post_init__(self) -> None:
        if self.country is not None and self.country not in country_codes():
            raise ConfigError(f"country: found {self.country!r}; expected ISO 3166-1 alpha-2, such as GB")


@dataclass(frozen=True, slots=True)
class RecommendAllSettings:
    """What recommend_all.py writes: the best k titles of every profile of the current release of `artifacts`.

    output: the Parquet file; null is recommendations.parquet in `artifacts`. time_seconds: of the requests,
    Unix seconds; null is each one's last event. available: only what may be shown in the profile's country at
    that moment, or without one at the newest event of all. store_key: the keys that the release may be sealed
    under, a path or env:NAME; what is written lies in clear.
    """

    artifacts: str = "artifacts"
    output: str | None = None
    k: int = bounded(100, ge=1)
    time_seconds: int | None = bounded(None, ge=0)
    available: bool = False
    store_key: str | None = None


register("recommend_settings", RecommendSettings)
register("recommend_all_settings", RecommendAllSettings)
