"""What a training measured of its towers, as it stands in their export: what is served must find as much."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towers.data.dataset import Dataset
from towers.data.split import HeldOut, SplitSettings, sampled_validation
from towers.errors import ReleaseError

MEASURED = "measured"
"""Of an export's context: nDCG@10 of the towers as they were trained, and of how many questions."""
K = 10
QUESTIONS, NDCG = "questions", f"ndcg@{K}"


@dataclass(frozen=True, slots=True)
class Promise:
    """Validation questions, and the nDCG@10 that a training measured of them."""

    asked: HeldOut
    ndcg: float


def promise_of(context: Mapping[str, Any], dataset: Dataset, settings: SplitSettings) -> Promise | None:
    """What the context of an export says was measured; None where it says nothing.

    dataset: the tables that it learned from, unchanged. Raises ReleaseError where the entry is damaged, or
    where these tables have another number of questions.
    """
    said = context.get(MEASURED)
    if said is None:
        return None
    num, ndcg = (said.get(QUESTIONS), said.get(NDCG)) if isinstance(said, Mapping) else (None, None)
    if not isinstance(num, int) or not isinstance(ndcg, int | float) or num < 1 or not 0.0 <= ndcg <= 1.0:
        raise ReleaseError(
            f"{MEASURED}: {said!r}; expected {QUESTIONS}, above 0, and {NDCG}, 0 to 1: "
            "run scripts/train.py again"
        )
    asked = sampled_validation(dataset, settings, num)
    if len(asked) != num:
        raise ReleaseError(
            f"{MEASURED}: of {num} validation questions these tables have {len(asked)}; expected the tables "
            "and the split of the training: run scripts/train.py again"
        )
    return Promise(asked, float(ndcg))
