"""What a training measures of its towers, for whoever serves them: see `promise`."""

from typing import Any

from towers.data.dataset import Dataset
from towers.data.split import SplitSettings, sampled_validation
from towers.evaluation.evaluate import evaluate
from towers.evaluation.promise import MEASURED, NDCG, QUESTIONS, K
from towers.recommender import Recommender

_NUM_QUESTIONS = 2000


def measured(learned: Recommender, dataset: Dataset, settings: SplitSettings) -> dict[str, dict[str, Any]]:
    """The entry of an export's context, of at most 2,000 validation questions; empty where there are none.

    learned: the towers in memory, with exact answers over the catalogue that they learned from.
    """
    questions = sampled_validation(dataset, settings, _NUM_QUESTIONS)
    if len(questions) == 0:
        return {}
    num_items = len(dataset.catalogue)
    judged = evaluate(
        learned, questions, num_items=num_items, ks=(K,), name="validation", show_progress=False
    )
    return {MEASURED: {QUESTIONS: len(questions), NDCG: float(judged.per_query(NDCG).mean())}}
