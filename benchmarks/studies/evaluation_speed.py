"""Seconds to evaluate 10,000 questions over 100,000 titles at 100 places, every metric on every slice.

    OMP_NUM_THREADS=2 python -m benchmarks.studies.evaluation_speed

The rankings are made beforehand: what is timed is the check of each answer, metrics, slices, and the report.
"""

import json
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from towers.data.histories import Histories
from towers.data.schema import ITEMS, PROFILES, table
from towers.data.split import HeldOut
from towers.evaluation.evaluate import Evaluation, evaluate
from towers.evaluation.report import Protocol, Report, to_json
from towers.evaluation.slices import TargetSlice, slices_of
from towers.recommender import Queries, Rankings

NUM_QUERIES, NUM_ITEMS, K = 10_000, 100_000, 100
HISTORY, NUM_TARGETS = 50, 10
DAY = 86_400
COUNTRIES = ("DE", "FR", "BR", "US", "IN", "JP", "GB", "NG", "")


@dataclass(frozen=True)
class Made:
    """Answers that were made beforehand, in the order of the questions, whose moments are their numbers."""

    item_row: np.ndarray
    first_second: int

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The rows made for these questions."""
        rows = self.item_row[queries.time_seconds - self.first_second, :k]
        return Rankings(rows, np.broadcast_to(-np.arange(k, dtype=np.float32), rows.shape))


def made_world(seed: int) -> tuple[HeldOut, pa.Table, np.ndarray, tuple[Made, Made]]:
    """Questions, items, train events of each, and two recommenders with about one target in five shown."""
    rng = np.random.default_rng(seed)
    # Distinct rows per question: history, targets, and what else is shown.
    width = HISTORY + NUM_TARGETS + K
    step = rng.integers(1, NUM_ITEMS // width, (NUM_QUERIES, width)).cumsum(axis=1)
    rows = rng.permuted((step + rng.integers(0, NUM_ITEMS, (NUM_QUERIES, 1))) % NUM_ITEMS, axis=1)
    history, target, other = np.split(rows, [HISTORY, HISTORY + NUM_TARGETS], axis=1)
    first_second = 600 * DAY
    asked = first_second + np.arange(NUM_QUERIES)
    ago = np.sort(rng.integers(DAY, 500 * DAY, history.shape), axis=1)[:, ::-1]
    held_out = HeldOut(
        profile_row=np.arange(NUM_QUERIES),
        history=Histories(
            np.arange(NUM_QUERIES + 1) * HISTORY,
            history.ravel(),
            (asked[:, None] - ago).ravel(),
            np.full(history.size, np.nan, np.float32),
        ),
        time_seconds=asked,
        country=rng.choice(COUNTRIES, NUM_QUERIES),
        target_offset=np.arange(NUM_QUERIES + 1) * NUM_TARGETS,
        target_row=target.ravel(),
        profiles=table(
            PROFILES,
            {
                "profile_id": [f"p{row}" for row in range(NUM_QUERIES)],
                "age_band": rng.choice(["18-24", "25-34", "35-49", "50+"], NUM_QUERIES).tolist(),
            },
        ),
    )
    genres = np.array([f"genre {number}" for number in range(18)])
    items = table(
        ITEMS,
        {
            "item_id": [f"t{row}" for row in range(NUM_ITEMS)],
            "title": [f"t{row}" for row in range(NUM_ITEMS)],
            "genres": genres[rng.integers(0, len(genres), (NUM_ITEMS, 2))].tolist(),
            "maturity": rng.choice(["0", "6", "12", "16", "18"], NUM_ITEMS).tolist(),
        },
    )
    shown = [np.where(rng.random((NUM_QUERIES, K)) < 0.2, 1, 0) for _ in range(2)]
    rungs = []
    for chosen in shown:
        answer, queries = other.copy(), np.arange(NUM_QUERIES)
        for number in range(NUM_TARGETS):
            place = 10 * number + rng.integers(0, 10, NUM_QUERIES)
            hit = chosen[queries, place] == 1
            answer[queries[hit], place[hit]] = target[hit, number]
        rungs.append(Made(answer, first_second))
    return held_out, items, rng.zipf(1.5, NUM_ITEMS).clip(max=10_000) - 1, (rungs[0], rungs[1])


def main() -> None:
    """Prints seconds of each part as JSON."""
    held_out, items, num_watches, rungs = made_world(seed=0)
    start = time.perf_counter()
    slices = slices_of(held_out, items, num_watches)
    cut = time.perf_counter()
    judged = [judge(rung, held_out, num_watches, slices, f"rung {n}") for n, rung in enumerate(rungs)]
    evaluated = time.perf_counter()
    report = Report(Protocol("made", "none"), tuple(judged), reference="rung 0", k=10)
    num_rows = len(to_json(report)["slices"]["rows"])
    reported = time.perf_counter()
    print(
        json.dumps(
            {
                "num_slices": len(judged[0].slices),
                "slices_seconds": round(cut - start, 2),
                "evaluate_seconds_each": round((evaluated - cut) / 2, 2),
                "report_of_two_seconds": round(reported - evaluated, 2),
                "report_rows": num_rows,
                "recall@100": judged[0].means["recall@100"],
            },
            indent=2,
        )
    )


def judge(
    rung: Made, held_out: HeldOut, num_watches: np.ndarray, slices: tuple[TargetSlice, ...], name: str
) -> Evaluation:
    """One evaluation, at the places of the report."""
    return evaluate(
        rung, held_out, num_items=NUM_ITEMS, ks=(10, K), num_watches=num_watches, slices=slices, name=name
    )


if __name__ == "__main__":
    main()
