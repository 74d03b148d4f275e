"""A feedback loop: what is learned decides what is shown, and what is shown is what is learned next.

The service is simulated, so it is known what its viewers like and what they would have found by themselves.
Two arms live through the same weeks of the same world, with the same number of watches at the same moments.
In the one the model's answers are shown, and it is trained anew every cycle on what came of them; in the
other, the control, what is shown is drawn without any model. What both arms share, such as tastes and
popularity that move, is no effect of the model.
Source: Chaney, Stewart and Engelhardt, RecSys 2018, How Algorithmic Confounding in Recommendation Systems
Increases Homogeneity and Decreases Utility, doi:10.1145/3240323.3240370.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from towers.audit.feedback_viewers import Shown, Viewers
from towers.audit.segments import UNKNOWN, Dimension, profile_labels
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.schema import QUERIES, table
from towers.data.simulator.calendar import DAY_MS, LOG_START_MS, NUM_DAYS
from towers.data.simulator.log import Ids, event_table
from towers.data.simulator.watches import Cause
from towers.data.simulator.world import World
from towers.data.sources.simulated import SimulatedSettings
from towers.errors import ConfigError
from towers.evaluation.calibration import genre_shares, shown_mix
from towers.evaluation.concentration import gini
from towers.evaluation.new_local import NewAndLocal
from towers.ladder.rungs import RungName
from towers.recommender import PAD, Queries, Recommender
from towers.settings import bounded, check_ranges

Learner = Callable[[Dataset, int], Recommender]
"""What is trained anew every cycle: the log so far, and the moment at which it ends, in Unix seconds."""

_WARM_UP_DAYS = 56


@dataclass(frozen=True, slots=True)
class FeedbackSettings:
    """world: the simulated service; its last `num_cycles` · `cycle_days` days are lived through anew.

    rung: of the ladder, what learns. num_cycles: how often it is trained anew, every cycle_days.
    k: titles that a profile is shown in a cycle. organic_share: of its watches, found without being shown.
    position_bias: place j is looked at in proportion to j ** -position_bias.
    num_seeds: worlds, each with a seed of its own; of one alone nothing is known.
    level: of all intervals together. tolerance: a figure that is worse by at most this share does not narrow.
    dimension: the segments whose quality is compared; min_profiles: smaller ones are left out.
    new_days: a title is new for so many days.
    """

    world: SimulatedSettings = field(
        default_factory=lambda: SimulatedSettings(num_events=18_000, num_profiles=400, num_items=400)
    )
    rung: RungName = RungName.ITEM_KNN
    num_cycles: int = bounded(10, ge=2)
    cycle_days: int = bounded(28, ge=1)
    k: int = bounded(10, ge=1)
    organic_share: float = bounded(0.3, ge=0.0, lt=1.0)
    position_bias: float = bounded(1.0, ge=0.0, le=5.0)
    num_seeds: int = bounded(5, ge=1)
    level: float = bounded(0.95, gt=0.5, lt=1.0)
    tolerance: float = bounded(0.05, ge=0.0, lt=1.0)
    dimension: Dimension = Dimension.AGE_BAND
    min_profiles: int = bounded(20, ge=1)
    new_days: float = bounded(56.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class CycleFigures:
    """One cycle of one arm; None of what is not known, as before anything is shown.

    watched_gini, watched_coverage: of the watches of the cycle over all titles: Gini index, and the share of
    titles that somebody watched. watched_genres: the effective number of genres, exp of the entropy in nats,
    that a profile of two watches or more in the cycle watches, on average.
    shown_gini, shown_coverage, shown_genres: the same of what is shown. new, local: shares of what is shown.
    quality: see Shown, on average over profiles; worst_over_best: of the segments' means.
    """

    watched_gini: float
    watched_coverage: float
    watched_genres: float | None
    shown_gini: float | None = None
    shown_coverage: float | None = None
    shown_genres: float | None = None
    new: float | None = None
    local: float | None = None
    quality: float | None = None
    worst_over_best: float | None = None


@dataclass(frozen=True, slots=True)
class FeedbackRun:
    """One world, from the cycle before anything is shown, which both arms share; num_cycles + 1 of each."""

    seed: int
    model: tuple[CycleFigures, ...]
    control: tuple[CycleFigures, ...]


def check_feedback(settings: FeedbackSettings, key: str = "feedback") -> None:
    """Raises ConfigError naming the key of a setting out of range, or of more cycles than the log holds."""
    check_ranges(settings, key)
    if settings.rung is RungName.TOWERS_FUSION:
        raise ConfigError(f"{key}.rung: {settings.rung}; expected a rung that is fitted on its own")
    most = (NUM_DAYS - _WARM_UP_DAYS) // settings.cycle_days - 1
    if settings.num_cycles > most:
        raise ConfigError(
            f"{key}.num_cycles: {settings.num_cycles} of {settings.cycle_days} days, one before them and "
            f"{_WARM_UP_DAYS} days to learn from do not fit into {NUM_DAYS} days; expected at most {most}"
        )


def live_through(
    world: World,
    learner: Learner,
    settings: FeedbackSettings,
    control: tuple[CycleFigures, ...] | None = None,
) -> FeedbackRun:
    """Both arms of one world. Memory holds a number for every profile and title.

    control: that of another learner in the same world, under the same settings: it is the same for all.
    """
    check_feedback(settings)
    loop = _Loop(world, settings)
    model = loop.arm(lambda dataset, asked: _ranked(learner, dataset, asked))
    if control is None:
        control = loop.arm(
            lambda _, asked: loop.viewers.own_choice(asked.rng, asked.profile_row, asked.time_ms)
        )
    return FeedbackRun(world.settings.seed, model, control)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who is shown something in a cycle, and when: as the first watch of each begins."""

    cycle: int
    start_ms: int
    profile_row: Int64[np.ndarray, " n"]
    time_ms: Int64[np.ndarray, " n"]
    rng: np.random.Generator


_Show = Callable[[Dataset, _Asked], Int64[np.ndarray, "n W"]]


class _Loop:
    """What the arms of a world share: its events, which of them are organic, what titles and profiles are."""

    def __init__(self, world: World, settings: FeedbackSettings) -> None:
        self.world, self.settings = world, settings
        self.viewers = Viewers(world, settings.position_bias)
        self.shares = genre_shares(world.tables.items)
        self.new_local = NewAndLocal.of(world.tables.items)
        labels = profile_labels(world.tables.profiles)
        if settings.dimension not in labels:
            raise ConfigError(
                f"feedback.dimension: {settings.dimension}, which no simulated profile says; expected one of "
                + ", ".join(labels)
            )
        self.segment = labels[settings.dimension]
        self.country = np.array(world.tables.profiles["country"].to_pylist(), dtype=np.str_)

    def bounds_ms(self) -> list[int]:
        """When each cycle begins, that before the loop first, and when the last one ends."""
        s = self.settings
        first = LOG_START_MS + (NUM_DAYS - (s.num_cycles + 1) * s.cycle_days) * DAY_MS
        return [first + number * s.cycle_days * DAY_MS for number in range(s.num_cycles + 2)]

    def arm(self, show: _Show) -> tuple[CycleFigures, ...]:
        """The cycles of an arm in which `show` ranks what is shown."""
        watches, bounds = self.world.watches, self.bounds_ms()
        start = watches["start_ms"]
        so_far = watches[start < bounds[1]]
        figures = [self.figures(so_far[so_far["start_ms"] >= bounds[0]], None)]
        for cycle, (begin, end) in enumerate(pairwise(bounds[1:])):
            of_cycle = watches[(start >= begin) & (start < end)].copy()
            # The draws are those of world and cycle: both arms have the same organic watches.
            rng = np.random.default_rng([self.world.settings.seed, cycle])
            replaced = rng.random(len(of_cycle)) >= self.settings.organic_share
            asked = self.asked(of_cycle[replaced], cycle, begin, rng)
            shown = self.shown(show, so_far, asked)
            self.watch(of_cycle, np.flatnonzero(replaced), shown, rng)
            figures.append(self.figures(of_cycle, shown))
            so_far = np.concatenate([so_far, of_cycle])
        return tuple(figures)

    def asked(self, slots: np.ndarray, cycle: int, start_ms: int, rng: np.random.Generator) -> _Asked:
        profile_row, first = np.unique(slots["profile_row"], return_index=True)
        return _Asked(cycle, start_ms, profile_row.astype(np.int64), slots["start_ms"][first], rng)

    def shown(self, show: _Show, so_far: np.ndarray, asked: _Asked) -> Shown:
        world = self.world
        watched = np.zeros((len(world.audience), len(world.catalogue)), bool)
        watched[so_far["profile_row"], so_far["item_row"]] = True
        ranking = show(self.dataset(so_far), asked)
        own = watched[asked.profile_row]
        return self.viewers.show(ranking, asked.profile_row, asked.time_ms, own, self.settings.k)

    def dataset(self, so_far: np.ndarray) -> Dataset:
        """The log as the service has it, without searches: those of the world's own log led elsewhere."""
        tables = self.world.tables
        ids = Ids("p", len(self.world.audience)), Ids("t", len(self.world.catalogue))
        events = event_table(so_far, *ids)
        return dataset_from_tables(replace(tables, events=events, queries=table(QUERIES, {})))

    def watch(self, of_cycle: np.ndarray, slot: np.ndarray, shown: Shown, rng: np.random.Generator) -> None:
        """Writes what is taken into the slots of the cycle's watches; those left over stay organic."""
        order = slot[np.argsort(of_cycle["profile_row"][slot], kind="stable")]
        num = np.bincount(np.searchsorted(shown.profile_row, of_cycle["profile_row"][order]))
        line, place = self.viewers.take(rng, shown, num)
        before = np.cumsum(num) - num
        turn = np.arange(len(line)) - np.searchsorted(line, np.arange(len(num)))[line]
        event = order[before[line] + turn]
        item_row = shown.item_row[line, place]
        of_cycle["item_row"][event] = item_row
        of_cycle["minutes"][event] = self.viewers.minutes(rng, item_row, shown.liking[line, place])
        of_cycle["position"][event] = np.minimum(place + 1, np.iinfo(np.int8).max)
        of_cycle["cause"][event] = Cause.ROW

    def figures(self, of_cycle: np.ndarray, shown: Shown | None) -> CycleFigures:
        num_items = len(self.world.catalogue)
        count = np.bincount(of_cycle["item_row"], minlength=num_items)
        found = CycleFigures(gini(count), float((count > 0).mean()), self.genres(of_cycle))
        if shown is None:
            return found
        row, filled = shown.item_row, shown.item_row != PAD
        exposure = np.bincount(row[filled], minlength=num_items)
        num_shown = max(1, int(filled.sum()))
        new = self.new_local.new(row, shown.time_ms // 1000, self.settings.new_days)
        local = self.new_local.local(row, self.country[shown.profile_row])
        return replace(
            found,
            shown_gini=gini(exposure),
            shown_coverage=float((exposure > 0).mean()),
            shown_genres=_mean(_effective(shown_mix(row, row.shape[1], self.shares)[filled.any(axis=1)])),
            new=float(new.sum()) / num_shown,
            local=float(local.sum()) / num_shown,
            quality=_mean(shown.quality),
            worst_over_best=self.ratio(shown),
        )

    def genres(self, of_cycle: np.ndarray) -> float | None:
        profile, line, count = np.unique(of_cycle["profile_row"], return_inverse=True, return_counts=True)
        mix = np.zeros((len(profile), self.shares.shape[1]))
        np.add.at(mix, line, self.shares[of_cycle["item_row"]])
        return _mean(_effective(mix[count >= 2] / count[count >= 2, None]))

    def ratio(self, shown: Shown) -> float | None:
        segment, known = self.segment[shown.profile_row], ~np.isnan(shown.quality)
        names, code = np.unique(segment[known], return_inverse=True)
        count = np.bincount(code, minlength=len(names))
        means = np.bincount(code, shown.quality[known], minlength=len(names)) / np.maximum(count, 1)
        means = means[(count >= self.settings.min_profiles) & (names != UNKNOWN)]
        return float(means.min() / means.max()) if len(means) > 1 and means.max() > 0.0 else None


def _ranked(learner: Learner, dataset: Dataset, asked: _Asked) -> Int64[np.ndarray, "n N"]:
    """All titles as the learner ranks them, so that what may not be shown can be passed over."""
    rows = asked.profile_row
    queries = Queries(
        dataset.history.select(rows),
        asked.time_ms // 1000,
        dataset.country[rows],
        dataset.profile_table.take(rows),
    )
    return learner(dataset, asked.start_ms // 1000).rank(queries, len(dataset.catalogue)).item_row


def _effective(mix: np.ndarray) -> np.ndarray:
    """Exp of the entropy of each line, float64 (n, G) shares: 1 of one genre alone."""
    log_share = np.log(np.where(mix > 0.0, mix, 1.0))
    number: np.ndarray = np.exp(-(mix * log_share).sum(axis=1))
    return number


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
