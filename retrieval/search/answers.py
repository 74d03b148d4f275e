"""Answers to a text from one release: titles that match it, and beside them what its vector finds."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.eligibility.columns import Once
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.rules import Rule
from retrieval.index.allowed import Allowed, everything
from retrieval.release.read import Release
from retrieval.search.order import Liking, best_first
from retrieval.search.search import Found, TextSearch, Undo, as_spelled_first, text_search
from retrieval.search.text_vectors import meant
from retrieval.search.understanding import Understood
from retrieval.vectors import VectorAnswers
from towers.recommender import PAD, Degraded, Queries


@dataclass(frozen=True, slots=True, eq=False)
class TextAnswer:
    """Rows of titles for a text, best first; none where nothing matches it and no vector finds anything.

    degraded: NO_MATCH where none matches, NOT_AVAILABLE where the one that it names may not be shown, else
    None. understood: what the text was taken to say.
    """

    row: Int64[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]
    degraded: Degraded | None
    understood: tuple[Understood, ...]


class TextAnswers:
    """Answers texts from one release; see `Retriever.search`. Safe for any number of concurrent readers.

    like: of another release with the same catalogue, of which all but popularity is taken.
    """

    def __init__(self, release: Release, eligibility: Eligibility, like: "TextAnswers | None" = None) -> None:
        self._release, self._eligibility = release, eligibility
        # Made by the first search: a service that only recommends needs none. It must not hold `like`, which
        # holds its release.
        text = None if like is None else like._text.made
        self._text: Once[TextSearch] = Once(
            lambda: (
                text_search(release.catalogue, release.num_events, eligibility)
                if text is None
                else text.with_popularity(release.num_events)
            )
        )

    def answer(
        self, text: str, k: int, rule: Rule | None, understood: Undo, query: Queries | None
    ) -> TextAnswer:
        """The best k titles for a text that pass the rule. query: who asks, None of nobody known."""
        found = self._text().find(text, rule, understood)
        matches = found.matches
        reason = None if len(matches.row) else Degraded.NO_MATCH
        if found.withheld is not None:
            reason = Degraded.NOT_AVAILABLE
            left_out = Allowed.but(np.array([0, 1]), np.array([found.withheld]))
            allowed = self._eligibility.among(left_out, [rule])
            similar = self._release.answers.similar(found.withheld, k, allowed).item_row[0]
            matches = as_spelled_first(matches, similar[similar != PAD])
        dense, liking = self._meant(text, found, k, query)
        row, score = best_first(matches, k, self._text().place, liking, dense)
        return TextAnswer(row, score, reason, found.understood)

    def suggest(self, prefix: str, k: int, rule: Rule | None) -> Int64[np.ndarray, " n"]:
        """The titles that a text may become; see `Retriever.suggest`."""
        return self._text().suggest(prefix, k, rule)

    def _meant(
        self, text: str, found: Found, k: int, query: Queries | None
    ) -> tuple[Int64[np.ndarray, " d"] | None, Liking | None]:
        """What a vector of text and asker finds, where it can change the answer; and the asker's liking."""
        answers, texts = self._release.answers, self._release.texts
        if not isinstance(answers, VectorAnswers):
            return None, None if query is None else partial(answers.liking, query)
        user = None if query is None else answers.encoder.encode(query)
        liking = None if user is None else partial(answers.liked, user)
        if texts is None or found.withheld is not None or found.matches.num_spelled >= k:
            return None, liking
        allowed = self._eligibility.among(everything(1), [found.rule])
        return meant(texts, answers, self._release.num_events, text, user, k, allowed), liking
