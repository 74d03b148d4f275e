"""Why a title was answered: by exact counterfactuals of the history, by rules, and by the title's own facts.

A title of the history is a cause where without it the score would be lower. So the history is encoded again
without each title, at the same moment; what an encoder makes of the others then is in it too. Effects of
titles are not parts of a sum: two of a kind can each be dispensable, and together be all there is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64

from retrieval.attribution import Attributions, Attributor
from retrieval.eligibility.columns import Once
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.plain import to_plain
from retrieval.eligibility.rules import All, Rule
from retrieval.encoder import PrefixEncoder, QueryEncoder
from retrieval.lists import ListAnswers
from retrieval.release.read import Release
from retrieval.requests import Asked
from retrieval.vectors import VectorAnswers
from towers.data.histories import Histories
from towers.errors import QueryError
from towers.recommender import Degraded, Queries

MOST_CAUSES = 3
REQUEST_RULE = "rule"
# Below it lies what float32 makes of equal scores.
_NOISE = 1e-6
# Events of histories held at once.
_MAX_EVENTS = 1 << 20


@dataclass(frozen=True, slots=True)
class Cause:
    """A title of the history, and by how much the score would be lower without it, > 0."""

    item_id: str
    drop: float


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule that what is shown must pass: how many titles it keeps out by itself, and whether this passes.

    name: a field of `Controls`, "watched", or REQUEST_RULE, of which `rule` says one as JSON.
    """

    name: str
    num_titles: int
    passes: bool
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one title has its score for one profile, and whether it may be shown at all.

    causes: titles of the history without which the score would be lower, the strongest first, a few at most;
    none where nothing watched lifts it. together: by how much it would be lower without all of them at once.
    score, without_history: as it is, and as it would be had nothing been watched. degraded: why it is not the
    explanation of an answer by the history: as of the answer itself; NOT_PRECOMPUTED of a release of lists,
    whose titles' own lists are what is explained by. metadata: None where it was not asked for.
    """

    item_id: str
    score: float
    without_history: float
    causes: tuple[Cause, ...]
    together: float
    num_watched: int
    filters: tuple[Filter, ...]
    release_id: str
    degraded: Degraded | None = None
    metadata: Attributions | None = None

    @property
    def eligible(self) -> bool:
        """Whether it may be shown: it passes every filter."""
        return all(one.passes for one in self.filters)


class Explainer:
    """Explains what one release answers; see `Retriever.explain`. Safe for any number of threads."""

    def __init__(self, release: Release, eligibility: Eligibility) -> None:
        self._release, self._eligibility = release, eligibility
        self._attributor = Once(lambda: attributor_of(release))

    def explain(
        self, asks: Asked, row: int, rules: Sequence[tuple[str, Rule]], most: int, metadata: bool
    ) -> Explanation:
        """Why the title of a row has its score for who asks. rules: what may be shown to them, by name."""
        filters = filters_of(self._eligibility, rules, asks.query.history, row)
        explained = explain(self._release, asks, row, filters, most)
        return replace(explained, metadata=self._attributed(asks, row)) if metadata else explained

    def _attributed(self, asks: Asked, row: int) -> Attributions:
        attributor = self._attributor()
        if asks.degraded is Degraded.UNKNOWN_PROFILE:
            raise QueryError("explain: popularity reads no metadata; expected a profile, or a history")
        answers = self._release.answers
        assert isinstance(answers, VectorAnswers)  # else there is no attributor
        return attributor.attribute(row, answers.encoder.encode(asks.query)[0])


def explain(release: Release, asks: Asked, row: int, filters: Sequence[Filter], most: int) -> Explanation:
    """The explanation of the title of a row to who asks; `filters` are given, as they are by other means."""
    item_id = release.catalogue.vocabulary.ids[row]
    watched = np.unique(asks.query.history.item_row)
    if asks.degraded is Degraded.UNKNOWN_PROFILE:
        score = float(release.num_events[row])
    else:
        score = float(release.answers.scores(asks.query, row)[0])
    found = Explanation(
        item_id, score, score, (), 0.0, len(watched), tuple(filters), release.release_id, asks.degraded
    )
    if len(watched) == 0:
        return found
    nothing = asks.query.history.only(np.zeros(asks.query.history.num_events, bool))
    without_history = float(release.answers.scores(replace(asks.query, history=nothing), row)[0])
    drop = score - without_each(release, asks.query, watched[:, None], row)
    strongest = np.argsort(-drop, kind="stable")[:most]
    strongest = strongest[drop[strongest] > _NOISE]
    causes: tuple[Cause, ...] = ()
    together = 0.0
    if len(strongest):
        # Of the strongest one, two, …: those that together count most. One alone always counts.
        named = np.full((len(strongest), len(strongest)), -1)
        for num in range(len(strongest)):
            named[num, : num + 1] = watched[strongest[: num + 1]]
        joint = score - without_each(release, asks.query, named, row)
        num = int(joint.argmax()) + 1
        together = float(joint[num - 1])
        ids = release.catalogue.vocabulary.ids
        causes = tuple(Cause(ids[watched[one]], float(drop[one])) for one in strongest[:num].tolist())
    by_lists = isinstance(release.answers, ListAnswers)
    return replace(
        found,
        without_history=without_history,
        causes=causes,
        together=together,
        degraded=Degraded.NOT_PRECOMPUTED if by_lists else found.degraded,
    )


def without_each(
    release: Release, query: Queries, removed: Int64[np.ndarray, "n m"], row: int
) -> Float32[np.ndarray, " n"]:
    """The score of a title for one query without the titles of each line of `removed`; -1 is none."""
    history = query.history
    size = max(1, _MAX_EVENTS // max(1, history.num_events))
    scores = []
    for start in range(0, len(removed), size):
        part = removed[start : start + size]
        kept: Bool[np.ndarray, "n L"] = np.ones((len(part), history.num_events), bool)
        for column in part.T:
            kept &= history.item_row[None, :] != column[:, None]
        same = query.select(np.zeros(len(part), np.int64))
        scores.append(release.answers.scores(replace(same, history=same.history.only(kept.ravel())), row))
    return np.concatenate(scores)


def filters_of(
    eligibility: Eligibility, rules: Sequence[tuple[str, Rule]], watched: Histories, row: int
) -> tuple[Filter, ...]:
    """What each rule keeps out and says of one title, by the names given; that of a request rule by rule."""
    parts = [
        (name, part)
        for name, rule in rules
        for part in (rule.rules if name == REQUEST_RULE and isinstance(rule, All) else (rule,))
    ]
    found = []
    for name, rule in parts:
        bitmap = eligibility.bitmap(rule)
        passes = bool(bitmap[row >> 3] >> (row & 7) & 1)
        said = json.dumps(to_plain(rule)) if name == REQUEST_RULE else ""
        found.append(Filter(name, eligibility.count(None) - eligibility.count(rule), passes, said))
    seen = np.unique(watched.item_row)
    return (*found, Filter("watched", len(seen), row not in seen))


def attributor_of(release: Release) -> Attributor:
    """What attributes the scores of a release to metadata; QueryError where it reads none."""
    encoder = release.answers.encoder if isinstance(release.answers, VectorAnswers) else None
    if not isinstance(encoder, QueryEncoder | PrefixEncoder):
        raise QueryError(
            f"explain: {release.release_id} answers without towers, which alone read metadata; expected none "
            "asked for"
        )
    return Attributor(encoder.towers, release.catalogue.table, encoder.dimension)
