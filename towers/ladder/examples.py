"""Training examples of the learned rankers: candidates watched next, and others, from train alone."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from towers.data.histories import Histories
from towers.data.split import SplitKind
from towers.errors import TrainingError
from towers.ladder.candidates import CandidateSettings, CandidateSource, ItemFacts, fit_candidates
from towers.ladder.catalogue import ages, batches
from towers.recommender import Queries
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExampleSettings:
    """kind: which train events are the answers; of the kind of the split that will judge.

    leave_one_out: the last num_questions train events of each profile, but no more than half of them; each
    is one question, asked when it began, after all that the profile watched before.
    global_time: the newest held_share of the train events; those of one profile answer one question, asked
    when the first of them began, after what the profile watched before the cut-off.
    num_negatives: candidates that were not watched, drawn per question; max_questions: drawn where there are
    more. seed: of both draws.
    """

    kind: SplitKind = SplitKind.LEAVE_ONE_OUT
    num_questions: int = bounded(5, ge=1)
    held_share: float = bounded(0.1, gt=0.0, lt=1.0)
    num_negatives: int = bounded(100, ge=1)
    max_questions: int = bounded(20_000, ge=1)
    seed: int = bounded(0, ge=0, lt=2**32)


@dataclass(frozen=True, slots=True)
class Examples:
    """C examples, those of one question together.

    num_of_question: int64 (Q,), examples of each. features: float32 (C, F). watched: bool (C,).
    """

    num_of_question: Int64[np.ndarray, " Q"]
    features: Float32[np.ndarray, "C F"]
    watched: Bool[np.ndarray, " C"]


@dataclass(frozen=True, slots=True)
class Questions:
    """Q questions from train whose answers are train events.

    base: Histories of what lies before the answers, and the only thing that candidates are learned from.
    queries: the questions. target_query, target_row: int64 (T,), the answers.
    """

    base: Histories
    queries: Queries
    target_query: Int64[np.ndarray, " T"]
    target_row: Int64[np.ndarray, " T"]


def training_examples(
    train: Histories,
    facts: ItemFacts,
    country: np.ndarray,
    candidates: CandidateSettings,
    settings: ExampleSettings,
) -> Examples:
    """Examples from the train events, in which nothing of an answer is in the features that foretell it.

    Every count, similarity and transition comes from `Questions.base`, the train events without any that
    are an answer; a question's history is what its profile watched before the answer. Validation and test
    are never read. Questions whose answers are not among their candidates teach nothing and are left out.
    Raises TrainingError where no question is left.
    """
    check_ranges(settings, "examples")
    questions = questions_of(train, country, settings)
    source = fit_candidates(questions.base, facts, country, candidates)
    rng = np.random.default_rng(settings.seed)
    parts = [
        _examples(source, questions, start, stop, settings.num_negatives, rng)
        for start, stop in batches(source.cost(len(questions.queries)))
    ]
    nothing = Examples(np.zeros(0, np.int64), np.zeros((0, 0), np.float32), np.zeros(0, dtype=bool))
    parts = [part for part in parts if len(part.watched)] or [nothing]
    found = Examples(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("num_of_question", "features", "watched")
        )
    )
    if len(found.watched) == 0:
        raise TrainingError(
            f"examples: none of {len(questions.queries)} questions from {train.num_events} train events has "
            "its answer among its candidates; expected profiles with two events or more, of common titles"
        )
    log.info(
        "made examples num_questions=%d num_examples=%d num_watched=%d",
        *(len(found.num_of_question), len(found.watched), int(found.watched.sum())),
    )
    return found


def questions_of(train: Histories, country: np.ndarray, settings: ExampleSettings) -> Questions:
    """The Questions that the settings take from the train events."""
    match settings.kind:
        case SplitKind.LEAVE_ONE_OUT:
            num_held = np.minimum(settings.num_questions, train.lengths // 2)
            event = np.flatnonzero(ages(train) < np.repeat(num_held, train.lengths))
            event = _drawn(event, settings)
            profile = train.profile_rows()[event]
            history = train.slices(profile, train.offset[profile], event)
            queries = Queries(history, train.time_seconds[event], country[profile])
            target_query, target_row = np.arange(len(event)), train.item_row[event]
        case SplitKind.GLOBAL_TIME:
            times = train.time_seconds
            cut_off = np.quantile(times, 1.0 - settings.held_share, method="higher") if len(times) else 0
            num_held = np.bincount(train.profile_rows()[times >= cut_off], minlength=len(train))
            profile = _drawn(np.flatnonzero(num_held), settings)
            first = train.offset[profile + 1] - num_held[profile]
            answers = train.slices(profile, first, train.offset[profile + 1])
            history = train.slices(profile, train.offset[profile], first)
            queries = Queries(history, times[first], country[profile])
            target_query, target_row = answers.profile_rows(), answers.item_row
    base = train.first(train.lengths - num_held)
    return Questions(base, queries, target_query, target_row.astype(np.int64))


def _drawn(rows: Int64[np.ndarray, " n"], settings: ExampleSettings) -> Int64[np.ndarray, " m"]:
    """At most max_questions of the rows, in order."""
    if len(rows) <= settings.max_questions:
        return rows
    rng = np.random.default_rng(settings.seed)
    return np.sort(rng.choice(rows, settings.max_questions, replace=False))


def _examples(
    source: CandidateSource,
    questions: Questions,
    start: int,
    stop: int,
    num_negatives: int,
    rng: np.random.Generator,
) -> Examples:
    """The examples of the questions start:stop."""
    num_items = len(source.order)
    candidates = source.of(questions.queries.select(np.arange(start, stop)))
    answer = questions.target_query * num_items + questions.target_row
    watched = np.isin((candidates.query + start) * num_items + candidates.item_row, answer)
    answered = np.bincount(candidates.query[watched], minlength=stop - start) > 0
    # In each question the answers, then the others in random order: the first so many of these are kept.
    draw = np.where(watched, -1.0, rng.random(len(watched)))
    order = np.lexsort((draw, candidates.query))
    query = candidates.query[order]
    num_watched = np.bincount(candidates.query[watched], minlength=stop - start)
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    kept = order[answered[query] & (rank < num_watched[query] + num_negatives)]
    num_of_question = np.bincount(candidates.query[kept], minlength=stop - start)
    return Examples(num_of_question[num_of_question > 0], candidates.features[kept], watched[kept])
