"""Whether answers under random rule sets are complete: min(k, eligible) titles, all eligible, none twice."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from benchmarks.eligibility_rules import RandomRules, RawTitles, RuleSet
from retrieval.completion import complete_topk, unseen
from retrieval.eligibility.compile import Eligibility
from retrieval.index.allowed import Allowed
from retrieval.index.spec import Index
from towers.data.histories import Histories

_DEPTHS = (1, 10, 100, 500)
_ONE_BY_ONE = 10


@dataclass(frozen=True, slots=True)
class Served:
    """What answers, and who asks.

    vectors: float32 (N, D), which the index holds. eligibility, titles: of the same N titles, compiled and
    raw. query: float32 (Q, D); watched: what each of them has seen.
    """

    vectors: Float32[np.ndarray, "N D"]
    index: Index
    eligibility: Eligibility
    titles: RawTitles
    query: Float32[np.ndarray, "Q D"]
    watched: Histories


def num_complete(served: Served, num: int, seed: int, batch: int = 200) -> tuple[int, dict[str, int]]:
    """How many of so many random rule sets are answered in full, and how many of them let how many pass.

    Asked in batches in which every query has a rule of its own, every tenth of them one by one.
    """
    rng, rules = np.random.default_rng(seed), RandomRules(served.titles, seed)
    complete, sizes = 0, {"none": 0, "fewer than k": 0, "k or more": 0}
    for start in range(0, num, batch):
        sets = [rules.draw() for _ in range(min(batch, num - start))]
        who = rng.integers(len(served.query), size=len(sets))
        turn = start // batch
        k, single = _DEPTHS[turn % len(_DEPTHS)], turn % _ONE_BY_ONE == _ONE_BY_ONE - 1
        rows = _one_by_one(served, sets, who, k) if single else _in_a_batch(served, sets, who, k)
        for one, asked, row in zip(sets, who.tolist(), rows, strict=True):
            eligible = served.titles.passes(one.rule).copy()
            eligible[one.excluded] = False
            eligible[served.watched.items_of(asked)] = False
            num_eligible = int(np.count_nonzero(eligible))
            complete += is_complete(row, eligible, num_eligible)
            sizes["none" if not num_eligible else "fewer than k" if num_eligible < k else "k or more"] += 1
    return complete, sizes


def is_complete(row: Int64[np.ndarray, " K"], eligible: Bool[np.ndarray, " N"], num_eligible: int) -> bool:
    """Whether an answer has min(K, eligible) rows, all of them eligible, none twice, and padding behind."""
    num = min(len(row), num_eligible)
    found = row[:num]
    return bool(
        (row[num:] == -1).all()
        and (found >= 0).all()
        and eligible[found].all()
        and len(np.unique(found)) == num
    )


def _in_a_batch(served: Served, sets: list[RuleSet], who: np.ndarray, k: int) -> np.ndarray:
    left_out = [
        np.union1d(served.watched.items_of(asked), one.excluded)
        for one, asked in zip(sets, who.tolist(), strict=True)
    ]
    offset = np.concatenate([[0], np.cumsum([len(rows) for rows in left_out])])
    allowed = Allowed.but(offset, np.concatenate(left_out).astype(np.int64))
    allowed = allowed.among(*served.eligibility.bitmaps([one.rule for one in sets]))
    return complete_topk(served.index, served.vectors, served.query[who], k, allowed)[1]


def _one_by_one(served: Served, sets: list[RuleSet], who: np.ndarray, k: int) -> np.ndarray:
    """As a request is answered."""
    rows = []
    for one, asked in zip(sets, who, strict=True):
        allowed = unseen(served.watched.select(asked[None]), one.excluded)
        allowed = allowed.among(*served.eligibility.bitmaps([one.rule]))
        rows.append(complete_topk(served.index, served.vectors, served.query[asked][None], k, allowed)[1][0])
    return np.array(rows)
