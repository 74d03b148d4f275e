"""A canary rolls back what is worse, not what is as good, and keeps every profile on its side."""

import threading
from pathlib import Path

import numpy as np
import pytest

from retrieval.canary import Canary, CanarySettings, Decision, Measure, Side, Tally, judged
from retrieval.release.store import current
from retrieval.retriever import Retriever
from tests.forked import run_program
from tests.retrieval.conftest import Exported
from tests.retrieval.releases import published
from towers.errors import ConfigError, ConflictError, IntegrityError, QueryError

KEY = b"a secret of the service"


@pytest.fixture(scope="module")
def root(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A live release, and a candidate beside it."""
    folder = tmp_path_factory.mktemp("releases")
    published(exported, folder)
    published(exported, folder, becomes_current=False)
    return folder


def canary_of(root: Path, settings: CanarySettings | None = None, key: bytes = KEY) -> Canary:
    live, candidate = (Retriever.open(root / name) for name in ("r000001", "r000002"))
    return Canary(live, candidate, key, settings)


def test_a_candidate_stands_beside_the_live_release(root: Path) -> None:
    assert current(root) == "r000001"
    assert Retriever.open(root).release_id == "r000001"
    assert Retriever.open(root / "r000002").release_id == "r000002"


def test_a_profile_stays_on_its_side_and_the_share_is_kept(root: Path) -> None:
    one, two = (canary_of(root, CanarySettings(share=0.2)) for _ in range(2))
    ids = [f"p{number}" for number in range(5000)]
    sides = [one.side(profile_id) for profile_id in ids]
    assert sides == [two.side(profile_id) for profile_id in ids]
    # A binomial of 5,000 at .2 has a deviation of .0057.
    assert abs(sides.count(Side.CANDIDATE) / len(ids) - 0.2) < 0.025
    another = canary_of(root, CanarySettings(share=0.2), b"another secret key")
    others = [another.side(profile_id) for profile_id in ids]
    both = sum(side is other is Side.CANDIDATE for side, other in zip(sides, others, strict=True))
    assert abs(both / len(ids) - 0.04) < 0.02
    assert one.side(None) is Side.LIVE
    assert one.side("\ud800") in Side  # half of a character, as JSON may bring it
    # A larger share only adds profiles: nobody goes back.
    wider = canary_of(root, CanarySettings(share=0.5))
    assert all(
        wider.side(each) is Side.CANDIDATE
        for each, side in zip(ids, sides, strict=True)
        if side is Side.CANDIDATE
    )


def test_answers_are_of_the_side_and_say_so(root: Path) -> None:
    canary = canary_of(root, CanarySettings(share=0.5))
    expected = {Side.LIVE: "r000001", Side.CANDIDATE: "r000002"}
    for profile_id in canary.retriever(None).profile_ids:
        answer = canary.retriever(profile_id).recommend(profile_id, k=3)
        assert answer.release_id == expected[canary.side(profile_id)]


def test_what_is_reported_counts_only_for_the_release_of_the_side(root: Path) -> None:
    canary = canary_of(root, CanarySettings(share=0.5))
    who = next(f"p{number}" for number in range(99) if canary.side(f"p{number}") is Side.CANDIDATE)
    assert not canary.report(who, "r000001", plays=1, minutes=3.0)
    assert canary.report(who, "r000002", plays=1, minutes=3.0)
    assert canary.report(who, "r000002", plays=0, minutes=0.0)
    arm = canary.tally.arm(Side.CANDIDATE, Measure.MINUTES)
    assert (arm.num_answers.tolist(), arm.outcome.tolist()) == ([2], [3.0])
    for plays, minutes in ((-1, 0.0), (0, -1.0), (0, float("nan"))):
        with pytest.raises(QueryError, match="expected 0 or more"):
            canary.report(who, "r000002", plays=plays, minutes=minutes)


def test_threads_and_processes_lose_no_report(root: Path) -> None:
    canaries = [canary_of(root) for _ in range(2)]

    def report(canary: Canary) -> None:
        for number in range(500):
            who = f"p{number % 50}"
            canary.report(who, canary.retriever(who).release_id, plays=1, minutes=2.0)

    threads = [threading.Thread(target=report, args=(each,)) for each in canaries for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Tally.of([each.tally for each in canaries])
    arms = [total.arm(side, Measure.PLAYS) for side in Side]
    assert len(total) == 50
    assert sum(int(arm.num_answers.sum()) for arm in arms) == 2000
    assert sum(float(arm.outcome.sum()) for arm in arms) == 2000.0


def test_no_profile_id_is_kept(root: Path) -> None:
    canary = canary_of(root)
    canary.report("a-very-private-name", "r000001", plays=1, minutes=1.0)
    kept = repr(vars(canary.tally))
    assert "private" not in kept


def planted(seed: int, factor: float, settings: CanarySettings, num_days: int = 5) -> Decision:
    """What becomes of a candidate whose answers are worth `factor` times the live ones', looked at each day.

    Profiles differ more than any release could: how much one watches is drawn once, from a long tail.
    """
    rng = np.random.default_rng(seed)
    tally = Tally()
    num = dict.fromkeys(Side, 400)
    liking = {side: rng.lognormal(0.0, 0.8, count) for side, count in num.items()}
    for _ in range(num_days):
        for side, count in num.items():
            worth = factor if side is Side.CANDIDATE else 1.0
            comes = rng.random(count) < 0.5
            plays = rng.poisson(worth * 0.6 * liking[side])
            minutes = plays * rng.gamma(2.0, 20.0, count)
            for row in np.flatnonzero(comes).tolist():
                digest = f"{side}{row}".encode()
                tally.add(digest, side, num_answers=1, plays=int(plays[row]), minutes=float(minutes[row]))
        verdict = judged(tally, settings)
        if verdict.decision is not Decision.GO_ON:
            return verdict.decision
    return Decision.GO_ON


def test_a_worse_candidate_is_rolled_back_and_an_equal_one_is_not() -> None:
    settings = CanarySettings(min_profiles=100, max_profiles=10**6)
    # How seldom an equal one is, over many seeds, is shown of the interval itself (test_sequential).
    equal = [planted(seed, 1.0, settings) for seed in range(20)]
    assert equal.count(Decision.ROLL_BACK) <= 1
    worse = [planted(seed, 0.6, settings) for seed in range(8)]
    assert worse.count(Decision.ROLL_BACK) >= 7
    better = [planted(seed, 2.0, settings) for seed in range(4)]
    assert better.count(Decision.PROMOTE) == 4


def test_nothing_is_decided_by_few_and_the_horizon_ends_it() -> None:
    few = CanarySettings(min_profiles=5000)
    assert planted(0, 0.5, few) is Decision.GO_ON
    ends = CanarySettings(min_profiles=100, max_profiles=250, max_loss=0.001)
    assert planted(1, 1.0, ends) is Decision.PROMOTE


def test_a_verdict_becomes_current(root: Path, exported: Exported, tmp_path: Path) -> None:
    for number in range(2):
        published(exported, tmp_path, becomes_current=number == 0)
    canary = canary_of(tmp_path)
    waiting = canary.verdict()
    assert waiting.decision is Decision.GO_ON
    assert canary.conclude(tmp_path, waiting) is None
    rolled_back = judged(_of_outcomes(1.0, 0.0), CanarySettings())
    assert rolled_back.decision is Decision.ROLL_BACK
    assert "plays" in rolled_back.reason
    assert canary.conclude(tmp_path, rolled_back) == "r000001" == current(tmp_path)
    promoted = judged(_of_outcomes(1.0, 2.0), CanarySettings())
    assert promoted.decision is Decision.PROMOTE
    assert canary.conclude(tmp_path, promoted) == "r000002" == current(tmp_path)
    # Going back is the same verdict where the candidate had become current.
    assert canary.conclude(tmp_path, rolled_back) == "r000001" == current(tmp_path)


def test_plays_that_are_no_number_are_refused(root: Path) -> None:
    # In a process of its own, without the type checks of the test suite, which would be first.
    program = f"""
from pathlib import Path
from tests.retrieval.test_canary import canary_of
from towers.errors import QueryError
canary = canary_of(Path({str(root)!r}))
try:
    canary.report("p0", "r000001", plays=float("nan"), minutes=1.0)
except QueryError as error:
    print(error, len(canary.tally))
"""
    assert run_program(program).stdout == "plays = nan, minutes = 1.0; expected 0 or more of each 0\n"


@pytest.mark.parametrize("candidate_plays", [0.0, 2.0])
def test_what_was_published_since_is_not_replaced_by_an_older_release(
    candidate_plays: float, exported: Exported, tmp_path: Path
) -> None:
    for number in range(2):
        published(exported, tmp_path, becomes_current=number == 0)
    canary = canary_of(tmp_path)
    published(exported, tmp_path)
    verdict = judged(_of_outcomes(1.0, candidate_plays), CanarySettings())
    with pytest.raises(ConflictError, match="r000003 is current; expected r000001 or r000002"):
        canary.conclude(tmp_path, verdict)
    assert current(tmp_path) == "r000003"


def test_a_damaged_candidate_is_not_promoted(exported: Exported, tmp_path: Path) -> None:
    for number in range(2):
        published(exported, tmp_path, becomes_current=number == 0)
    canary = canary_of(tmp_path)
    path = tmp_path / "r000002" / "items.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        canary.conclude(tmp_path, judged(_of_outcomes(1.0, 2.0), CanarySettings()))
    assert current(tmp_path) == "r000001"


def test_settings_and_sides_that_make_no_canary_are_refused(root: Path) -> None:
    live = Retriever.open(root / "r000001")
    with pytest.raises(ConfigError, match="expected two releases"):
        Canary(live, live, KEY)
    with pytest.raises(ConfigError, match="expected 16 or more"):
        canary_of(root, key=b"short")
    with pytest.raises(ConfigError, match=r"canary\.share"):
        canary_of(root, CanarySettings(share=1.0))


def _of_outcomes(live: float, candidate: float) -> Tally:
    """A thousand profiles a side, whose outcomes are about so much."""
    rng, tally = np.random.default_rng(0), Tally()
    for side, worth in ((Side.LIVE, live), (Side.CANDIDATE, candidate)):
        for row in range(1000):
            plays = int(rng.poisson(5.0 * worth))
            tally.add(f"{side}{row}".encode(), side, num_answers=5, plays=plays, minutes=30.0 * plays + worth)
    return tally
