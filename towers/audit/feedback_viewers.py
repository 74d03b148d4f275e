"""Simulated viewers of a feedback loop: what they may be shown, and what they take of it.

All of it is the simulator's own truth, and nothing here has learned from a log.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from towers.audit.exposure import place_worth
from towers.data.simulator.calendar import day_of
from towers.data.simulator.liking import draw_minutes
from towers.data.simulator.numeric import gumbel
from towers.data.simulator.watches import Cause
from towers.data.simulator.world import World
from towers.recommender import PAD

_NOWHERE = -1e9
"""Below every logarithm of a chance: what cannot be chosen comes last."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What n profiles are shown, k places each.

    profile_row: int64 (n,), rows of the world. time_ms: int64 (n,), when. item_row: int64 (n, k), PAD where
    no more may be shown. liking: float64 (n, k), how much each is truly liked, 0 at PAD. quality: float64
    (n,), Σ liking / log2(place + 1) over that of the best k titles that might have been shown; NaN where none
    might.
    """

    profile_row: Int64[np.ndarray, " n"]
    time_ms: Int64[np.ndarray, " n"]
    item_row: Int64[np.ndarray, "n k"]
    liking: Float64[np.ndarray, "n k"]
    quality: Float64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Viewers:
    """The profiles of a world. position_bias: place j is looked at in proportion to j ** -position_bias."""

    world: World
    position_bias: float

    def may_watch(
        self, profile_row: Int64[np.ndarray, " n"], time_ms: Int64[np.ndarray, " n"]
    ) -> Bool[np.ndarray, "n N"]:
        """What is on offer at home, within the certificate, at the moments given."""
        world, audience = self.world, self.world.audience
        country = audience.country[profile_row]
        last = len(world.licences.on_offer) - 1
        week = np.clip(day_of(time_ms, country) // 7, 0, last)
        offered = (world.licences.on_offer[week] >> country[:, None].astype(np.uint16)) & 1 != 0
        allowed: np.ndarray = offered & (world.catalogue.maturity <= audience.cap[profile_row, None])
        return allowed

    def own_choice(
        self, rng: np.random.Generator, profile_row: Int64[np.ndarray, " n"], time_ms: Int64[np.ndarray, " n"]
    ) -> Int64[np.ndarray, "n N"]:
        """All titles in an order drawn by what each profile would watch next of its own accord.

        Drawn one after another without replacement by `World.choice_probability`: taste, popularity of the
        week, what suits. No log is read.
        """
        world = self.world
        chance = np.empty((len(profile_row), len(world.catalogue)))
        for line, (row, moment) in enumerate(zip(profile_row.tolist(), time_ms.tolist(), strict=True)):
            chance[line] = world.choice_probability(row, moment)
        utility = np.where(chance > 0.0, np.log(np.where(chance > 0.0, chance, 1.0)), _NOWHERE)
        order: np.ndarray = np.argsort(-(utility + gumbel(rng, chance.shape)), axis=1, kind="stable")
        return order

    def show(
        self,
        ranking: Int64[np.ndarray, "n W"],
        profile_row: Int64[np.ndarray, " n"],
        time_ms: Int64[np.ndarray, " n"],
        watched: Bool[np.ndarray, "n N"],
        k: int,
    ) -> Shown:
        """The first k of each ranking that the profile may watch and has not; PAD is passed over."""
        num, num_items = watched.shape
        allowed = self.may_watch(profile_row, time_ms) & ~watched
        given = ranking != PAD
        kept = given & np.take_along_axis(allowed, np.where(given, ranking, 0), axis=1)
        first = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        row = np.full((num, k), PAD, np.int64)
        taken = np.take_along_axis(kept, first, axis=1)
        row[:, : first.shape[1]] = np.where(taken, np.take_along_axis(ranking, first, axis=1), PAD)
        liked = self.world.affinity(profile_row, time_ms).astype(np.float64)
        of_shown = np.where(row == PAD, 0.0, np.take_along_axis(liked, np.maximum(row, 0), axis=1))
        width = min(k, num_items)
        best = -np.sort(-np.where(allowed, liked, 0.0), axis=1)[:, :width]
        worth = place_worth(k)
        ideal = best @ worth[:width]
        gained = of_shown @ worth
        quality = np.divide(gained, ideal, out=np.full(num, np.nan), where=ideal > 0.0)
        return Shown(profile_row, time_ms, row, of_shown, quality)

    def take(
        self, rng: np.random.Generator, shown: Shown, num: Int64[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " T"]]:
        """Line and place, from 0, of what is taken: of each line `num` titles, or all where it has fewer.

        One after another without replacement, each in proportion to exp(liking) · place ** -position_bias:
        liking is in nats. Lines rise; within a line in the order of taking.
        """
        place = np.arange(1, shown.item_row.shape[1] + 1)
        utility = shown.liking - self.position_bias * np.log(place)
        utility = np.where(shown.item_row == PAD, -np.inf, utility + gumbel(rng, utility.shape))
        order = np.argsort(-utility, axis=1, kind="stable")
        most = np.minimum(num, (shown.item_row != PAD).sum(axis=1))
        line, turn = np.nonzero(np.arange(order.shape[1]) < most[:, None])
        return line, order[line, turn]

    def minutes(
        self, rng: np.random.Generator, item_row: Int64[np.ndarray, " T"], liking: Float64[np.ndarray, " T"]
    ) -> Float64[np.ndarray, " T"]:
        """How long each title that was taken is watched: the more liked the nearer the end."""
        duration = self.world.catalogue.duration[item_row]
        meant = np.full(len(item_row), Cause.ROW, np.int8)
        tenths = draw_minutes(rng, duration, liking.astype(np.float32), meant)
        minutes: np.ndarray = tenths / 10.0
        return minutes
