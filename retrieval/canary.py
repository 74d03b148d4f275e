"""A canary: some profiles are answered by a candidate release, and what they do decides whether it stays."""

import hashlib
import logging
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from retrieval.release.operations import promote, roll_back
from retrieval.release.store import current
from retrieval.retriever import Retriever
from towers.errors import ConfigError, ConflictError, QueryError
from towers.evaluation.sequential import Arm, Lift, anytime_lift
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

_MIN_KEY_BYTES = 16
_DIGEST_BYTES = 8


class Side(StrEnum):
    """Who answers a profile."""

    LIVE = "live"
    CANDIDATE = "candidate"


class Measure(StrEnum):
    """What a service reports of an answer."""

    PLAYS = "plays"
    MINUTES = "minutes"


class Decision(StrEnum):
    """What becomes of a candidate."""

    GO_ON = "go_on"
    """Too little is known yet."""
    PROMOTE = "promote"
    """It becomes current."""
    ROLL_BACK = "roll_back"
    """It does not: every profile is answered by the live release again."""


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """How many profiles a candidate answers, and what decides.

    share: of the profiles, the candidate's. alpha: how often an equal candidate is rolled back at most,
    however often one looks. max_loss: what may be lost, as a share; a candidate that is sure to lose less is
    promoted. effect: lifts of about this size are found soonest. min_profiles: of each side before anything
    is decided. max_profiles: of the candidate's side; one that is not sure to be worse by then is promoted.
    """

    share: float = bounded(0.1, gt=0.0, lt=1.0)
    alpha: float = bounded(0.05, gt=0.0, lt=1.0)
    max_loss: float = bounded(0.05, gt=0.0, lt=1.0)
    effect: float = bounded(0.1, gt=0.0)
    min_profiles: int = bounded(200, ge=2)
    max_profiles: int = bounded(20_000, ge=2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and what it stands on.

    reason: in words. lifts: of each measure, the candidate's over the live release's; None where nothing can
    be said. num_live, num_candidate: profiles that were reported of.
    """

    decision: Decision
    reason: str
    lifts: Mapping[Measure, Lift | None]
    num_live: int
    num_candidate: int


@dataclass(slots=True)
class _Profile:
    """What was reported of one profile."""

    side: Side
    num_answers: int = 0
    plays: int = 0
    minutes: float = 0.0


class Tally:
    """What was reported, by a keyed hash of each profile; those of several processes can be added up."""

    def __init__(self) -> None:
        self._of: dict[bytes, _Profile] = {}
        self._lock = threading.Lock()

    def add(self, digest: bytes, side: Side, *, num_answers: int, plays: int, minutes: float) -> None:
        """Adds what a profile did with some answers."""
        with self._lock:
            known = self._of.setdefault(digest, _Profile(side))
            known.num_answers += num_answers
            known.plays += plays
            known.minutes += minutes

    def arm(self, side: Side, measure: Measure) -> Arm:
        """The profiles of a side, with the outcome of one measure."""
        with self._lock:
            chosen = [each for each in self._of.values() if each.side is side]
            answers = np.array([each.num_answers for each in chosen], np.int64)
            outcome = np.array([getattr(each, measure.value) for each in chosen], np.float64)
        return Arm(answers, outcome)

    @classmethod
    def of(cls, tallies: "Iterable[Tally]") -> "Tally":
        """The sum of the tallies of several processes, which used one key."""
        total = cls()
        for tally in tallies:
            with tally._lock:
                for digest, one in tally._of.items():
                    total.add(
                        digest, one.side, num_answers=one.num_answers, plays=one.plays, minutes=one.minutes
                    )
        return total

    def __len__(self) -> int:
        return len(self._of)


class Canary:
    """Two releases that answer side by side. Safe for any number of threads.

    A profile stays on one side for as long as the canary lasts, in every process that uses the same key; the
    next candidate gets other profiles. Nobody named is answered by the live release.
    """

    def __init__(
        self, live: Retriever, candidate: Retriever, key: bytes, settings: CanarySettings | None = None
    ) -> None:
        """key: a secret of 16 bytes or more, so that nobody can choose a side."""
        self._settings = settings or CanarySettings()
        check_ranges(self._settings, "canary")
        if len(key) < _MIN_KEY_BYTES:
            raise ConfigError(f"canary: a key of {len(key)} bytes; expected {_MIN_KEY_BYTES} or more")
        if live.release_id == candidate.release_id:
            raise ConfigError(f"canary: {live.release_id} on both sides; expected two releases")
        self._retrievers = {Side.LIVE: live, Side.CANDIDATE: candidate}
        self._key = hashlib.blake2b(key).digest()
        self.tally = Tally()

    def side(self, profile_id: str | None) -> Side:
        """Who answers this profile."""
        return Side.LIVE if profile_id is None else self._placed(profile_id)[1]

    def retriever(self, profile_id: str | None) -> Retriever:
        """What to answer a request of this profile with; its answers say which release they are of."""
        return self._retrievers[self.side(profile_id)]

    def report(self, profile_id: str, release_id: str, *, plays: int, minutes: float) -> bool:
        """Takes down what came of one answer, also where that is nothing; whether it counts.

        An answer of another release than the profile's side does not count, as one that was on the screen
        before the canary began. Raises QueryError on a number that is negative or not finite.
        """
        if not all(math.isfinite(number) and number >= 0 for number in (plays, minutes)):
            raise QueryError(f"plays = {plays}, minutes = {minutes}; expected 0 or more of each")
        digest, side = self._placed(profile_id)
        if self._retrievers[side].release_id != release_id:
            return False
        self.tally.add(digest, side, num_answers=1, plays=plays, minutes=minutes)
        return True

    def verdict(self, tally: Tally | None = None) -> Verdict:
        """What is to be done by what is known; may be asked at any time, and as often as one likes.

        tally: of all processes (`Tally.of`); what was reported here where None.
        """
        return judged(self.tally if tally is None else tally, self._settings)

    def conclude(self, root: Path, verdict: Verdict) -> str | None:
        """Makes the release that the verdict names current and gives its id; None where it says to go on.

        ConflictError where neither of the two is current: what was published since is newer than both.
        """
        ids = {side: each.release_id for side, each in self._retrievers.items()}
        match verdict.decision:
            case Decision.GO_ON:
                return None
            case Decision.PROMOTE:
                chosen = ids[Side.CANDIDATE]
            case Decision.ROLL_BACK:
                chosen = ids[Side.LIVE]
        now = current(root)
        if now not in ids.values():
            raise ConflictError(
                f"{root}: {now} is current; expected {' or '.join(ids.values())}, of which the canary is: "
                "begin another"
            )
        if now != chosen:
            change = promote if verdict.decision is Decision.PROMOTE else roll_back
            change(root, chosen, only_over=now)
        log.info("canary concluded decision=%s id=%s reason=%s", verdict.decision, chosen, verdict.reason)
        return chosen

    def _placed(self, profile_id: str) -> tuple[bytes, Side]:
        said = self._retrievers[Side.CANDIDATE].release_id + "\0" + profile_id
        digest = hashlib.blake2b(
            said.encode(errors="surrogatepass"), key=self._key, digest_size=_DIGEST_BYTES
        ).digest()
        drawn = int.from_bytes(digest, "big") / (1 << 8 * _DIGEST_BYTES)
        return digest, Side.CANDIDATE if drawn < self._settings.share else Side.LIVE


def judged(tally: Tally, settings: CanarySettings) -> Verdict:
    """The verdict on what was reported.

    Each measure has an interval that holds at all looks (`towers.evaluation.sequential.anytime_lift`), at
    alpha over the number of measures. One that lies below 0 rolls the candidate back; it is promoted where
    all lie above -max_loss.
    """
    arms = {measure: [tally.arm(side, measure) for side in Side] for measure in Measure}
    num_live, num_candidate = (len(arm.outcome) for arm in arms[Measure.PLAYS])
    lifts = {
        measure: anytime_lift(own, live, effect=settings.effect, alpha=settings.alpha / len(Measure))
        for measure, (live, own) in arms.items()
    }

    def verdict(decision: Decision, reason: str) -> Verdict:
        return Verdict(decision, reason, lifts, num_live, num_candidate)

    if min(num_live, num_candidate) < settings.min_profiles:
        return verdict(Decision.GO_ON, f"fewer than {settings.min_profiles} profiles on a side")
    worse = [name for name, lift in lifts.items() if lift is not None and lift.high < 0.0]
    if worse:
        return verdict(Decision.ROLL_BACK, f"fewer {' and '.join(worse)} an answer than the live release")
    if all(lift is not None and lift.low > -settings.max_loss for lift in lifts.values()):
        return verdict(Decision.PROMOTE, f"sure to lose less than {settings.max_loss:.0%} of any measure")
    if num_candidate >= settings.max_profiles:
        return verdict(Decision.PROMOTE, f"not shown to be worse by {num_candidate:,} profiles")
    return verdict(Decision.GO_ON, "too little is known yet")
