"""Claim `serving`: what an answer takes beside the bare search of its index, one at a time and in a batch.

A million titles, vectors of 128 numbers, an index compiled for recall .95. One at a time: profiles with their
stored histories ask for 100 titles, on one core, what they watched left out; between them the index alone is
searched with the vectors of other profiles, so that neither finds in the caches what the other has read. In a
batch: every profile into a Parquet file, beside the index alone with the same vectors, on two cores.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.ann_encoders import TowersRecipe
from benchmarks.claims import BenchmarkError
from benchmarks.environment import BENCH
from benchmarks.measurement import Measurement
from benchmarks.serving_release import RECIPE, made
from benchmarks.stages import on_cores
from retrieval.batch import BatchReport, recommend_all
from retrieval.eligibility.rules import Available
from retrieval.index.operating import exact_rows, recall_by_query
from retrieval.release.read import Release, read_release
from retrieval.retriever import Retriever
from retrieval.stages import timed
from retrieval.vectors import VectorAnswers

K = 100
_NUM_PROFILES, _NUM_WARM, _NUM_JUDGED, _ROUNDS = 2_000, 100, 500, 3


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall times of single answers, by round: as served, with a rule besides, and of the index alone."""

    served: np.ndarray
    filtered: np.ndarray
    bare: np.ndarray

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """Percentiles of each."""
        return {
            field.name: {
                f"p{share}": round(1e3 * float(np.percentile(getattr(self, field.name), share)), 4)
                for share in (50, 90, 99)
            }
            for field in fields(self)
        }


def measure() -> Measurement:
    """At a million titles; the first time it trains towers and compiles the index, half an hour or so."""
    return measured(RECIPE, BENCH / "serving")


def measured(recipe: TowersRecipe, root: Path) -> Measurement:
    """The figures of the release of a recipe, which is kept in the folder."""
    release = read_release(made(recipe, root))
    retriever, answers = Retriever(release), _answers(release)
    now = release.profiles.as_of_seconds
    watched = np.flatnonzero(release.profiles.history.lengths)
    profiles = watched[np.linspace(0, len(watched) - 1, min(_NUM_PROFILES, len(watched))).astype(np.int64)]
    every = answers.encoder.encode(retriever.questions(0, len(retriever.profile_ids), now))
    with on_cores(1):
        seconds = one_at_a_time(retriever, answers, profiles, every[profiles], now)
        with timed() as times:
            for row in profiles:
                retriever.recommend(retriever.profile_ids[row], k=K, time_seconds=now)
    with on_cores(2), TemporaryDirectory() as folder:
        bare, reports = in_a_batch(retriever, answers, every, now, Path(folder, "recommendations.parquet"))
    judged = every[profiles[:_NUM_JUDGED]]
    found = answers.index.search(judged, K)[1]
    served, alone = np.median(seconds.served), np.median(seconds.bare)
    batch = float(np.median([report.seconds - report.encode_seconds for report in reports]))
    return Measurement(
        figures={
            "p99_ms": round(1e3 * float(np.percentile(seconds.served, 99)), 3),
            "p50_over_bare_index": round(float(served / alone), 2),
            "batch_share_of_index": round(float(np.median(bare)) / batch, 3),
        },
        data=f"{len(release.catalogue):,} titles, {len(every):,} profiles of a simulated log, {recipe.log}",
        seeds=(0,),
        details={
            "milliseconds": seconds.milliseconds(),
            "filtered_p50_over_bare_index": round(float(np.median(seconds.filtered) / alone), 2),
            "stages, mean ms": {
                stage.value: round(1e3 * spent / len(profiles), 4) for stage, spent in times.seconds.items()
            },
            "recall of the bare index": round(
                float(recall_by_query(found, exact_rows(answers.vectors, judged, K)).mean()), 4
            ),
            "mean events of a profile": round(float(release.profiles.history.lengths[profiles].mean()), 1),
            "batch profiles": len(every),
            "batch seconds, index alone": [round(each, 3) for each in bare],
            "batch seconds": [round(report.seconds, 3) for report in reports],
            "batch seconds, encode": [round(report.encode_seconds, 3) for report in reports],
        },
    )


def one_at_a_time(
    retriever: Retriever, answers: VectorAnswers, profiles: np.ndarray, vector: np.ndarray, now: int
) -> Seconds:
    """Every profile once a round; after each the index alone with the vector of the one half way on."""
    ids = [retriever.profile_ids[row] for row in profiles]
    country = retriever.questions(0, len(retriever.profile_ids)).country[profiles].tolist()
    rule = {each: Available(each, now) for each in set(country)}
    lines = [vector[line : line + 1] for line in range(len(vector))]
    seconds = Seconds(*np.empty((3, _ROUNDS, len(ids))))

    def turn(line: int) -> tuple[float, float, float]:
        one, other = ids[line], lines[(line + len(lines) // 2) % len(lines)]
        return (
            _timed(lambda: retriever.recommend(one, k=K, time_seconds=now)),
            _timed(lambda: retriever.recommend(one, k=K, time_seconds=now, rule=rule[country[line]])),
            _timed(lambda: answers.index.search(other, K)),
        )

    for line in range(min(_NUM_WARM, len(ids))):
        turn(line)
    for each in range(_ROUNDS):
        for line in range(len(ids)):
            seconds.served[each, line], seconds.filtered[each, line], seconds.bare[each, line] = turn(line)
    return seconds


def in_a_batch(
    retriever: Retriever, answers: VectorAnswers, vectors: np.ndarray, now: int, path: Path
) -> tuple[list[float], list[BatchReport]]:
    """Seconds of the index alone and reports of whole batches, by turns."""
    bare, reports = [], []
    for _ in range(_ROUNDS):
        bare.append(_timed(lambda: answers.index.search(vectors, K)))
        reports.append(recommend_all(retriever, path, K, time_seconds=now))
    return bare, reports


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _answers(release: Release) -> VectorAnswers:
    if not isinstance(release.answers, VectorAnswers):
        raise BenchmarkError(f"{release.release_id}: answers from lists; expected an index")
    return release.answers
