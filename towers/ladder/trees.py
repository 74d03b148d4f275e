"""The gradient boosted trees rung: LightGBM over the features of a candidate."""

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from towers.data.histories import Histories
from towers.ladder.candidates import CandidateSettings, CandidateSource, fit_candidates, item_facts
from towers.ladder.examples import ExampleSettings, training_examples
from towers.ladder.extra import of_extra
from towers.recommender import Queries, Rankings, check_history
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


class TreeObjective(StrEnum):
    """What the trees minimise."""

    LAMBDARANK = "lambdarank"
    """Pairs of a question in the wrong order, by what their exchange changes in nDCG.

    Source: Burges, MSR-TR-2010-82, 2010.
    """
    BINARY = "binary"
    """Cross-entropy of watched next or not, each candidate by itself."""
    SOFTMAX = "rank_xendcg"
    """Cross-entropy of a softmax over a question's candidates, its targets moved at random (XE-nDCG).

    Source: Bruch 2019, arXiv:1911.09798.
    """


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """num_trees, num_leaves, learning_rate, min_examples (of a leaf), ridge (L2 of leaf values): of LightGBM.

    num_threads: cores that fit and answer; the result is that of one. seed: of LightGBM's draws.
    """

    objective: TreeObjective = TreeObjective.LAMBDARANK
    num_trees: int = bounded(100, ge=1)
    num_leaves: int = bounded(15, ge=2)
    learning_rate: float = bounded(0.05, gt=0.0)
    min_examples: int = bounded(50, ge=1)
    ridge: float = bounded(1.0, ge=0.0)
    num_threads: int = bounded(2, ge=1)
    seed: int = bounded(0, ge=0, lt=2**31)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    examples: ExampleSettings = field(default_factory=ExampleSettings)


@dataclass(frozen=True, slots=True)
class Trees:
    """A Recommender by gradient boosted trees over candidates, the own history left out.

    source: the candidates and their features. booster: LightGBM's Booster; the score is its raw sum.
    Items that are no candidates follow in order of popularity; an empty history has popular and recent ones.
    """

    source: CandidateSource
    booster: Any
    num_threads: int

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k candidates of highest score."""
        return self.source.rank_by(self._score, queries, k)

    def _score(self, features: np.ndarray) -> np.ndarray:
        score: np.ndarray = self.booster.predict(features, raw_score=True, num_threads=self.num_threads)
        return score


def fit_trees(
    train: Histories, items: pa.Table, country: np.ndarray, settings: TreeSettings | None = None
) -> Trees:
    """Trees of the train events and the items table; `country` is that of each train profile.

    Deterministic under a seed. The candidates that they then rank are learned from all of train. Raises
    MissingExtraError without LightGBM, TrainingError without examples. Source: Ke et al., NeurIPS 2017,
    https://papers.nips.cc/paper/6907.
    """
    settings = settings or TreeSettings()
    check_ranges(settings, "trees")
    check_history(train, items.num_rows)
    lightgbm = of_extra("lightgbm", "trees")
    facts = item_facts(items)
    examples = training_examples(train, facts, country, settings.candidates, settings.examples)
    dataset = lightgbm.Dataset(
        examples.features,
        examples.watched.astype(np.float32),
        group=examples.num_of_question if settings.objective is not TreeObjective.BINARY else None,
        feature_name=list(settings.candidates.columns),
        params={"verbosity": -1},
    )
    parameters = {
        "objective": settings.objective.value,
        "num_leaves": settings.num_leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_examples,
        "lambda_l2": settings.ridge,
        "num_threads": settings.num_threads,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    booster = lightgbm.train(parameters, dataset, num_boost_round=settings.num_trees)
    log.info("fitted trees num_examples=%d num_trees=%d", len(examples.watched), booster.num_trees())
    return Trees(fit_candidates(train, facts, country, settings.candidates), booster, settings.num_threads)
