"""The simple rungs together: what every figure of the towers is printed beside."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from towers.data.histories import Histories
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.ladder.neighbours import ItemKNNSettings, fit_item_knn
from towers.recommender import Recommender


@dataclass(frozen=True, slots=True)
class SimpleSettings:
    """popular: of all train events. recent: of the last days before the request. item_knn: neighbours."""

    popular: PopularSettings = field(default_factory=PopularSettings)
    recent: PopularSettings = field(default_factory=lambda: PopularSettings(days=7.0))
    item_knn: ItemKNNSettings = field(default_factory=ItemKNNSettings)


def fit_simple_rungs(train: Histories, num_items: int, settings: SimpleSettings) -> Mapping[str, Recommender]:
    """Every simple rung, fitted on the train events, by the name a table gives it."""
    return {
        "popular": fit_popular(train, num_items, settings.popular),
        "popular_recent": fit_popular(train, num_items, settings.recent),
        "item_knn": fit_item_knn(train, num_items, settings.item_knn),
    }
