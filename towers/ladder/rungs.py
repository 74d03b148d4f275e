"""Every rung of the ladder, from the bottom up: its name, its phase, and how it is fitted."""

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from pathlib import Path

from towers.data.dataset import Dataset
from towers.data.split import Split, SplitKind
from towers.evaluation.exact import ExactRecommender
from towers.ladder.affinity import AffinitySettings, fit_genre_affinity
from towers.ladder.continuing import ContinuingSettings, fit_continuing
from towers.ladder.country import CountrySettings, fit_country_popular
from towers.ladder.decayed import DecayedSettings, fit_decayed
from towers.ladder.ensemble import BlendSettings, FusionSettings, fit_blend, fit_fusion
from towers.ladder.factorisation import EASESettings, IALSSettings, fit_ease, fit_ials
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.ladder.linear import LinearSettings, fit_linear
from towers.ladder.markov import MarkovSettings, fit_markov
from towers.ladder.more_of import MoreOfSettings, fit_more_of
from towers.ladder.neighbours import ItemKNNSettings, fit_item_knn
from towers.ladder.profiles import ProfileKNNSettings, fit_profile_knn
from towers.ladder.trees import TreeSettings, fit_trees
from towers.ladder.trending import TrendingSettings, fit_trending
from towers.nets.two_tower import TwoTower, load_towers, save_towers
from towers.recommender import Recommender
from towers.training.settings import FitSettings


class Phase(IntEnum):
    """How much a model takes to build, run and understand."""

    HEURISTIC = 1
    SIMPLEST = 2
    OPTIMISED = 3
    DEEP = 4


class RungName(StrEnum):
    """The rungs in the order they are climbed."""

    POPULAR = "popular"
    POPULAR_RECENT = "popular_recent"
    POPULAR_DECAYED = "popular_decayed"
    POPULAR_BY_COUNTRY = "popular_by_country"
    TRENDING = "trending"
    GENRE_AFFINITY = "genre_affinity"
    MORE_OF = "more_of"
    CONTINUE_WATCHING = "continue_watching"
    ITEM_KNN = "item_knn"
    PROFILE_KNN = "profile_knn"
    MARKOV = "markov"
    LINEAR = "linear"
    TREES = "trees"
    EASE = "ease"
    IALS = "ials"
    FUSION = "fusion"
    BLEND = "blend"
    TOWERS = "towers"
    TOWERS_FUSION = "towers_fusion"

    @property
    def phase(self) -> Phase:
        """Its phase."""
        order = list(RungName)
        place = order.index(self)
        if place < order.index(RungName.ITEM_KNN):
            return Phase.HEURISTIC
        if place < order.index(RungName.EASE):
            return Phase.SIMPLEST
        return Phase.OPTIMISED if place < order.index(RungName.TOWERS) else Phase.DEEP


MEMBERS = (RungName.ITEM_KNN, RungName.MARKOV, RungName.EASE)
"""Whose rankings an ensemble joins: one that counts pairs, one that counts order, one that regresses."""


@dataclass(frozen=True, slots=True)
class RungSettings:
    """The settings of every rung but the towers."""

    popular: PopularSettings = field(default_factory=PopularSettings)
    recent: PopularSettings = field(default_factory=lambda: PopularSettings(days=7.0))
    decayed: DecayedSettings = field(default_factory=DecayedSettings)
    country: CountrySettings = field(default_factory=CountrySettings)
    trending: TrendingSettings = field(default_factory=TrendingSettings)
    affinity: AffinitySettings = field(default_factory=AffinitySettings)
    more_of: MoreOfSettings = field(default_factory=MoreOfSettings)
    continuing: ContinuingSettings = field(default_factory=ContinuingSettings)
    item_knn: ItemKNNSettings = field(default_factory=ItemKNNSettings)
    profile_knn: ProfileKNNSettings = field(default_factory=ProfileKNNSettings)
    markov: MarkovSettings = field(default_factory=MarkovSettings)
    linear: LinearSettings = field(default_factory=LinearSettings)
    trees: TreeSettings = field(default_factory=TreeSettings)
    ease: EASESettings = field(default_factory=EASESettings)
    ials: IALSSettings = field(default_factory=IALSSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    blend: BlendSettings = field(default_factory=BlendSettings)


def settings_of(name: RungName) -> tuple[str, ...]:
    """The fields of RungSettings that decide a rung; `towers`, which is none of them, decides the towers."""
    members = tuple(member.value for member in MEMBERS)
    match name:
        case RungName.POPULAR_RECENT:
            return ("recent",)
        case RungName.POPULAR_DECAYED:
            return ("decayed",)
        case RungName.POPULAR_BY_COUNTRY:
            return ("country",)
        case RungName.GENRE_AFFINITY:
            return ("affinity",)
        case RungName.CONTINUE_WATCHING:
            return ("continuing",)
        case RungName.FUSION | RungName.BLEND:
            return (*members, name.value)
        case RungName.TOWERS_FUSION:
            return (*members, "fusion")
        case _:
            return (name.value,)


def asked_like(settings: RungSettings, kind: SplitKind) -> RungSettings:
    """The settings with learned rankers that practise on questions of the same kind as they are judged by."""
    linear = replace(settings.linear, examples=replace(settings.linear.examples, kind=kind))
    trees = replace(settings.trees, examples=replace(settings.trees.examples, kind=kind))
    return replace(settings, linear=linear, trees=trees)


def fit_rung(
    name: RungName, dataset: Dataset, split: Split, settings: RungSettings, towers: FitSettings, folder: Path
) -> Recommender:
    """The rung, fitted on the train events alone; an ensemble fits its members first.

    folder: where the towers lay down their checkpoints and themselves; an ensemble of the towers takes those
    that stand there. Raises what the rung's own fit raises.
    """
    train, num_items, items = split.train, len(dataset.catalogue), dataset.items
    s = settings
    match name:
        case RungName.POPULAR:
            return fit_popular(train, num_items, s.popular)
        case RungName.POPULAR_RECENT:
            return fit_popular(train, num_items, s.recent)
        case RungName.POPULAR_DECAYED:
            return fit_decayed(train, num_items, s.decayed)
        case RungName.POPULAR_BY_COUNTRY:
            return fit_country_popular(train, num_items, dataset.country, s.country)
        case RungName.TRENDING:
            return fit_trending(train, num_items, s.trending)
        case RungName.GENRE_AFFINITY:
            return fit_genre_affinity(train, items, s.affinity)
        case RungName.MORE_OF:
            return fit_more_of(train, items, s.more_of)
        case RungName.CONTINUE_WATCHING:
            return fit_continuing(train, items, s.continuing)
        case RungName.ITEM_KNN:
            return fit_item_knn(train, num_items, s.item_knn)
        case RungName.PROFILE_KNN:
            return fit_profile_knn(train, num_items, s.profile_knn)
        case RungName.MARKOV:
            return fit_markov(train, num_items, s.markov)
        case RungName.LINEAR:
            return fit_linear(train, items, dataset.country, s.linear)
        case RungName.TREES:
            return fit_trees(train, items, dataset.country, s.trees)
        case RungName.EASE:
            return fit_ease(train, num_items, s.ease)
        case RungName.IALS:
            return fit_ials(train, num_items, s.ials)
        case RungName.FUSION:
            return fit_fusion(_members(dataset, split, s, towers, folder), s.fusion)
        case RungName.BLEND:
            return fit_blend(_members(dataset, split, s, towers, folder), split.validation, s.blend)
        case RungName.TOWERS:
            # Here alone: Lightning takes seconds to import, and every rung starts a process.
            from towers.training.fit import fit_towers

            fitted = fit_towers(dataset, split, towers, folder / "checkpoints")
            save_towers(fitted, folder / "towers")
            return exact(fitted, dataset)
        case RungName.TOWERS_FUSION:
            members = _members(dataset, split, s, towers, folder)
            return fit_fusion({**members, "towers": exact(load_towers(folder / "towers"), dataset)}, s.fusion)


def exact(towers: TwoTower, dataset: Dataset) -> ExactRecommender:
    """The towers as a Recommender by exact inner product."""
    return towers.exact(towers.encoder.encode(dataset.items))


def _members(
    dataset: Dataset, split: Split, settings: RungSettings, towers: FitSettings, folder: Path
) -> dict[str, Recommender]:
    return {name.value: fit_rung(name, dataset, split, settings, towers, folder) for name in MEMBERS}
