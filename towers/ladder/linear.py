"""The logistic regression rung: a linear score of the features of a candidate."""

import logging
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa

from towers.data.histories import Histories
from towers.ladder.candidates import CandidateSettings, CandidateSource, fit_candidates, item_facts
from towers.ladder.examples import ExampleSettings, training_examples
from towers.ladder.logistic import LogisticSettings, LogOdds, fit_conditional, fit_logistic
from towers.recommender import Queries, Rankings, check_history
from towers.settings import check_ranges

log = logging.getLogger(__name__)


class LinearObjective(StrEnum):
    """What the regression maximises the likelihood of."""

    LOGISTIC = "logistic"
    """Watched next or not, each candidate by itself."""
    SOFTMAX = "softmax"
    """Which of a question's candidates was watched next."""


@dataclass(frozen=True, slots=True)
class LinearSettings:
    """objective, logistic: of the regression. candidates: what is ranked. examples: what is learned from."""

    objective: LinearObjective = LinearObjective.LOGISTIC
    logistic: LogisticSettings = field(default_factory=LogisticSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    examples: ExampleSettings = field(default_factory=ExampleSettings)


@dataclass(frozen=True, slots=True)
class Linear:
    """A Recommender by logistic regression over candidates, the own history left out.

    source: the candidates and their features. log_odds: one weight per feature, and the score: the log-odds
    that the candidate is watched next. Items that are no candidates follow in order of popularity; an empty
    history has popular and recent ones.
    """

    source: CandidateSource
    log_odds: LogOdds

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k candidates of highest log-odds."""
        return self.source.rank_by(self.log_odds.of, queries, k)


def fit_linear(
    train: Histories, items: pa.Table, country: np.ndarray, settings: LinearSettings | None = None
) -> Linear:
    """Linear of the train events and the items table; `country` is that of each train profile.

    The candidates that it then ranks are learned from all of train. Raises MissingExtraError without
    scikit-learn or scipy, TrainingError without examples or where the optimiser does not converge.
    """
    settings = settings or LinearSettings()
    check_ranges(settings, "linear")
    check_history(train, items.num_rows)
    facts = item_facts(items)
    examples = training_examples(train, facts, country, settings.candidates, settings.examples)
    features, watched, penalty = examples.features, examples.watched, settings.logistic
    match settings.objective:
        case LinearObjective.LOGISTIC:
            log_odds = fit_logistic(features, watched, penalty, "linear")
        case LinearObjective.SOFTMAX:
            log_odds = fit_conditional(features, watched, examples.num_of_question, penalty, "linear")
    log.info("fitted linear num_examples=%d num_features=%d", len(examples.watched), len(log_odds.weight))
    return Linear(fit_candidates(train, facts, country, settings.candidates), log_odds)
