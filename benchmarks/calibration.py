"""Claim `calibration`: genres as each profile's own history has them, at hardly any loss of N@10.

The served Retriever on ml-latest-small, its 200 best re-ranked to ten, each worth the chance that the towers
give it. The weight of the calibration is the lowest of a grid that takes 52 % of the divergence from the
answers to the validation questions. The test items, the last of each profile, judge it.
"""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measurement import Measurement
from benchmarks.movielens_small import FOLDERS, data_overrides
from benchmarks.stages import run_script
from retrieval.rerank.calibrated import Calibrated, CalibrationSettings
from retrieval.rerank.rerank import Reranked
from retrieval.retriever import Retriever
from towers.audit.mix import Mix, mix_of
from towers.data.dataset import Dataset, read_dataset
from towers.data.signals.settings import signals_of
from towers.data.split import HeldOut, split, split_of
from towers.recommender import Recommender

SEEDS = (0, 1, 2)
WEIGHTS = tuple(round(0.02 * step, 2) for step in range(1, 46))
LEAST_REDUCTION = 0.52
K = 10


def measure() -> Measurement:
    """Medians over three trainings."""
    runs = [_run(seed) for seed in SEEDS]
    return Measurement(
        figures={name: median(float(run[name]) for run in runs) for name in ("kl_reduction", "n10_loss")},
        data=" + ".join(FOLDERS.values()) + ", leave-one-out",
        seeds=SEEDS,
        details={"runs": runs},
    )


def _run(seed: int) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        artifacts = Path(folder, "movielens")
        run_script("train", *data_overrides(), f"seed={seed}", f"artifacts={artifacts}")
        run_script("build_index", f"artifacts={artifacts}")
        retriever = Retriever.open(artifacts / "releases")
        dataset = read_dataset(artifacts / "tables", signals_of(retriever.context))
        parts = split(dataset, split_of(retriever.context))
        temperature = float(retriever.context["objective"]["temperature"])
        return compared(retriever, dataset, parts.validation, parts.test, temperature)


def compared(
    recommender: Recommender,
    dataset: Dataset,
    validation: HeldOut,
    test: HeldOut,
    temperature: float | None = None,
) -> dict[str, float]:
    """The weight chosen on validation, and what it does to the divergence and N@10 on test."""

    def calibrated(weight: float) -> Reranked:
        settings = CalibrationSettings(weight, temperature=temperature)
        return Reranked(recommender, Calibrated(dataset.items, settings))

    before = mix_of(recommender, validation, dataset.items, K)
    weight = WEIGHTS[0]
    for each in WEIGHTS:
        after = mix_of(calibrated(each), validation, dataset.items, K)
        weight = each
        if after.divergence <= (1.0 - LEAST_REDUCTION) * before.divergence:
            break
    plain = mix_of(recommender, test, dataset.items, K)
    found = mix_of(calibrated(weight), test, dataset.items, K)
    return {"weight": weight, **_gain(plain, found)}


def _gain(plain: Mix, found: Mix) -> dict[str, float]:
    return {
        "kl_reduction": 1.0 - found.divergence / plain.divergence,
        "n10_loss": 1.0 - found.ndcg / plain.ndcg,
        "divergence": plain.divergence,
        "divergence_calibrated": found.divergence,
        "n10": plain.ndcg,
        "n10_calibrated": found.ndcg,
        "gini": plain.gini,
        "gini_calibrated": found.gini,
    }
