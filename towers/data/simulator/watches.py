"""Who watches what, when and for how long: sessions, then choices by random utility, then minutes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from towers.data.simulator.audience import Audience, affinity
from towers.data.simulator.catalogue import NUM_WEEKS, Catalogue
from towers.data.simulator.numeric import allocate, gumbel, offsets, place_in_group, utility_grid
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.errors import SchemaError

NUM_DAYS = 7 * NUM_WEEKS

_SESSION_LENGTH = 3
_DAY_MS = 24 * 60 * 60 * 1000
_MINUTE_MS = 60 * 1000

# Utilities beside taste and popularity, in nats.
_SAME_SUB_GENRE = 1.25
_SAME_GENRE = 0.5
_PREQUEL_UNSEEN = -2.0
_PREQUEL_SEEN = 3.0
_NOVELTY = 2.0
_NOVELTY_WEEKS = 5.0

_MAX_SCORES = 1 << 20
"""Utilities held at once; a chunk of profiles against the catalogue, small enough for the caches."""


@dataclass(frozen=True, slots=True)
class Visits:
    """When profiles watch: E events packed by profile, in time order within each.

    offset: int64 (P+1,), the events of profile p are offset[p]:offset[p+1].
    day: int64 (E,), the day of the log on which the session began; opens: bool (E,), first of its session.
    """

    offset: Int64[np.ndarray, " P1"]
    day: Int64[np.ndarray, " E"]
    opens: Bool[np.ndarray, " E"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen at each of E visits.

    item_row: int64 (E,); accidental: bool (E,), a play nobody meant; affinity: float32 (E,), the true one.
    """

    item_row: Int64[np.ndarray, " E"]
    accidental: Bool[np.ndarray, " E"]
    affinity: Float32[np.ndarray, " E"]


@dataclass(frozen=True, slots=True)
class ChoiceWeights:
    """How much taste, popularity and the order of watching weigh, and the share of accidental plays."""

    taste: float
    popularity: float
    sequence: float
    accident_share: float


def draw_visits(rng: np.random.Generator, num_profiles: int, num_events: int, catalogue: Catalogue) -> Visits:
    """Exactly `num_events` visits, log-normal over profiles; SchemaError where they cannot watch so much.

    A profile never watches a title twice and opens one session a day at most, so the titles there at the
    start of the log and the days it stays bound what it can watch.
    """
    join = np.where(rng.random(num_profiles) < 0.3, rng.integers(0, 500, num_profiles), 0)
    stays = np.where(rng.random(num_profiles) < 0.2, rng.uniform(0.4, 1.0, num_profiles), 1.0)
    life = ((NUM_DAYS - join) * stays).astype(np.int64)
    room = np.minimum(life, np.count_nonzero(catalogue.arrival_week == 0))
    if num_events > room.sum():
        raise SchemaError(
            f"simulated: num_events = {num_events} is more than {num_profiles} profiles can watch of "
            f"{len(catalogue)} titles without watching one twice; expected at most {room.sum()}"
        )
    low = min(1, num_events // num_profiles)
    count = allocate(np.exp(rng.normal(0.0, 0.8, num_profiles)), num_events, low, room)
    opens = (place_in_group(count) % _SESSION_LENGTH == 0) | (rng.random(num_events) < 0.6)

    profile = np.repeat(np.arange(num_profiles), count)
    num_sessions = np.bincount(profile[opens], minlength=num_profiles)
    owner = np.repeat(np.arange(num_profiles), num_sessions)
    moment = rng.random(len(owner))
    moment = moment[np.lexsort((moment, owner))]
    # Sorted draws from what is left beside one day per session, one day apart: distinct days, any of them.
    slack = (life - num_sessions + 1)[owner]
    day = join[owner] + (moment * slack).astype(np.int64) + place_in_group(num_sessions)
    return Visits(offsets(count), day[np.cumsum(opens) - 1], opens)


def choose(
    rng: np.random.Generator, audience: Audience, catalogue: Catalogue, visits: Visits, weights: ChoiceWeights
) -> Choices:
    """What is watched at every visit: the title of highest utility among those on offer and not yet watched.

    Utility = taste + popularity + novelty + what was watched before + Gumbel noise, drawn once per profile
    and title. Without the order effects this is Gumbel top-k, a draw from the softmax without replacement
    (Kool et al., ICML 2019, arXiv:1903.06059).
    """
    num_events = len(visits.day)
    noise_rng, accident_rng = rng.spawn(2)
    accidental = accident_rng.random(num_events) < weights.accident_share
    fame = np.cumsum(np.exp(catalogue.appeal.astype(np.float64)))
    stray = np.searchsorted(fame, accident_rng.random(num_events) * fame[-1], side="right")
    choosing = _Choosing(catalogue, visits, weights, accidental, np.minimum(stray, len(catalogue) - 1))

    # Longest histories first, so that those still watching at a step are the first lines of a chunk.
    by_length = np.argsort(-np.diff(visits.offset), kind="stable")
    by_length = by_length[: np.count_nonzero(np.diff(visits.offset))]
    step = max(1, _MAX_SCORES // len(catalogue))
    for start in range(0, len(by_length), step):
        profiles = by_length[start : start + step]
        relevance = affinity(audience, catalogue, profiles)
        noise = utility_grid(gumbel(noise_rng, relevance.shape))
        choosing.run(profiles, relevance, noise)
    return Choices(choosing.item_row, choosing.accidental, choosing.affinity)


class _Choosing:
    """The tables that all chunks of profiles share, and the choices made so far."""

    def __init__(
        self,
        catalogue: Catalogue,
        visits: Visits,
        weights: ChoiceWeights,
        accidental: np.ndarray,
        stray: np.ndarray,
    ) -> None:
        self.item_row = np.full(len(visits.day), -1)
        self.affinity = np.zeros(len(visits.day), np.float32)
        self.accidental = accidental.copy()
        self._catalogue, self._visits, self._weights, self._stray = catalogue, visits, weights, stray
        self._offer = _offers(catalogue)
        self._follow = _follow_table(catalogue, weights.sequence)
        self._sequel_row = np.full(len(catalogue), -1)
        has_prequel = np.flatnonzero(catalogue.prequel_row >= 0)
        self._sequel_row[catalogue.prequel_row[has_prequel]] = has_prequel
        unseen = _PREQUEL_UNSEEN * weights.sequence * (catalogue.prequel_row >= 0)
        self._constant = utility_grid(weights.popularity * catalogue.appeal.astype(np.float64) + unseen)
        self._unlock = utility_grid(np.full(1, (_PREQUEL_SEEN - _PREQUEL_UNSEEN) * weights.sequence))[0]

    def run(self, profiles: np.ndarray, relevance: np.ndarray, noise: np.ndarray) -> None:
        """All choices of some profiles, sorted by falling length, one step of their histories at a time."""
        utility = utility_grid(relevance * np.float32(self._weights.taste))
        utility += self._constant
        utility += noise
        first = self._visits.offset[profiles]
        length = self._visits.offset[profiles + 1] - first
        follow = np.full(len(profiles), len(SUB_GENRES))  # the last line of the follow table: no effect
        week = self._visits.day // 7
        total = np.empty_like(utility)
        for place in range(int(length[0])):
            active = int(np.searchsorted(-length, -place, side="left"))
            line, event = np.arange(active), first[:active] + place
            offer = self._offer[week[event]]
            np.add(utility[:active], offer, out=total[:active])
            total[:active] += self._follow[follow[:active]]
            chosen = total[:active].argmax(axis=1)
            stray = self._stray[event]
            strays = self.accidental[event] & np.isfinite(total[line, stray])
            chosen = np.where(strays, stray, chosen)

            self.accidental[event] = strays
            self.item_row[event] = chosen
            self.affinity[event] = relevance[line, chosen]
            utility[line, chosen] = -np.inf
            meant = ~strays
            follow[:active][meant] = self._catalogue.sub_genre[chosen[meant]]
            sequel = self._sequel_row[chosen]
            unlocked = meant & (sequel >= 0)
            utility[line[unlocked], sequel[unlocked]] += self._unlock


def _offers(catalogue: Catalogue) -> Float32[np.ndarray, "W N"]:
    """Per week of the log: -inf for titles yet to arrive, and a fading lift for those that just have."""
    age = np.arange(NUM_WEEKS)[:, None] - catalogue.arrival_week
    lift = _NOVELTY * np.exp(-np.maximum(age, 0) / _NOVELTY_WEEKS)
    lift = np.where(catalogue.arrival_week == 0, 0.0, lift)
    return utility_grid(np.where(age < 0, -np.inf, lift))


def _follow_table(catalogue: Catalogue, weight: float) -> Float32[np.ndarray, "S1 N"]:
    """Per sub-genre watched last: the pull of titles like it; the line after the last is for no title yet."""
    sub_genre = np.arange(len(SUB_GENRES))[:, None]
    same_genre = GENRE_OF[sub_genre] == GENRE_OF[catalogue.sub_genre]
    pull = np.where(sub_genre == catalogue.sub_genre, _SAME_SUB_GENRE, _SAME_GENRE * same_genre)
    return utility_grid(np.vstack([weight * pull, np.zeros((1, len(catalogue)))]))


def draw_minutes(rng: np.random.Generator, catalogue: Catalogue, choices: Choices) -> Int64[np.ndarray, " E"]:
    """Tenths of a minute watched: the more affinity the nearer the end; an accident ends within minutes."""
    num_events = len(choices.item_row)
    drive = 0.6 * (choices.affinity.astype(np.float64) - 2.5) + rng.normal(0.0, 0.9, num_events)
    completion = 1.0 / (1.0 + np.exp(-drive))
    duration = catalogue.duration[choices.item_row].astype(np.float64)
    minutes = np.where(choices.accidental, rng.uniform(0.5, 6.0, num_events), completion * duration)
    # Who gets as far as the credits has watched it all.
    minutes = np.where(~choices.accidental & (completion > 0.93), duration, minutes)
    return np.rint(np.maximum(minutes, 0.5) * 10.0).astype(np.int64)


def draw_starts(
    rng: np.random.Generator, visits: Visits, minutes_tenths: Int64[np.ndarray, " E"]
) -> Int64[np.ndarray, " E"]:
    """Start of each event in ms since the log began: evenings, and within a session one after the other."""
    num_events = len(visits.day)
    opened = np.maximum.accumulate(np.where(visits.opens, np.arange(num_events), 0))
    minute = rng.triangular(6.0 * 60, 20.0 * 60, 21.5 * 60, num_events)[opened]
    begin = visits.day * _DAY_MS + (minute * _MINUTE_MS).astype(np.int64)
    pause = rng.integers(4 * _MINUTE_MS, 10 * _MINUTE_MS, num_events)
    spent = minutes_tenths * (_MINUTE_MS // 10) + pause
    before = np.cumsum(spent) - spent
    start: np.ndarray = begin + before - before[opened]
    return start
