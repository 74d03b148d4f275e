"""Queries → Rankings from one release: recommend, similar, search."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from retrieval.askers import Askers
from retrieval.catalogue import Catalogue
from retrieval.completion import unseen
from retrieval.control.store import ReadsControls
from retrieval.control.view import View
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.rules import Rule
from retrieval.explain import MOST_CAUSES, REQUEST_RULE, Explainer, Explanation
from retrieval.index.allowed import Allowed
from retrieval.known import forgotten_of
from retrieval.query_vectors import QueryVectors
from retrieval.ranking import Ranking
from retrieval.release.read import Release, read_release
from retrieval.release.verify import Verify
from retrieval.requests import Asked, GivenHistory, known_rows
from retrieval.rerank.rerank import Reranker
from retrieval.search.answers import TextAnswers
from retrieval.search.lexical import check_text
from retrieval.search.search import Undo
from retrieval.stages import Stage, stage
from retrieval.vectors import VectorAnswers
from towers.data.privacy.forgotten import ForgottenFile
from towers.data.privacy.pseudonyms import Pseudonyms
from towers.data.privacy.sealed import StoreKeys
from towers.errors import QueryError, UnknownIdError
from towers.evaluation.exact import ExactRecommender
from towers.recommender import Degraded, Queries, Rankings, check_history, check_k

__all__ = ["GivenHistory", "Ranking", "Retriever"]


class Retriever:
    """Answers from one release; a Recommender. Safe for any number of concurrent readers.

    controls: what profiles decided, whichever release answers. Every answer to a named profile keeps to it,
    beside the rule of the request; where its controls cannot be read it raises ControlsError, for an answer
    without them could show a child what it must not see. `rank` knows no profiles and keeps to no controls.
    like: see `open`; what is shared belongs to the titles alone, and holds no other Retriever.
    """

    def __init__(
        self,
        release: Release,
        controls: ReadsControls | None = None,
        forgotten: ForgottenFile | None = None,
        pseudonyms: Pseudonyms | None = None,
        like: "Retriever | None" = None,
    ) -> None:
        self._release = release
        self._askers = Askers(release, controls, forgotten, pseudonyms)
        rows = release.catalogue.rows
        self._by_popularity = rows[np.argsort(-release.num_events[rows], kind="stable")]
        same = like if like is not None and like.items is release.catalogue else None
        self._eligibility: Eligibility = Eligibility(release.catalogue) if same is None else same._eligibility
        texts = None if same is None else same._texts
        self._texts: TextAnswers = TextAnswers(release, self._eligibility, texts)
        self._explainer = Explainer(release, self._eligibility)

    @classmethod
    def open(
        cls,
        path: str | Path,
        verify: Verify = Verify.FULL,
        controls: ReadsControls | None = None,
        pseudonyms: Pseudonyms | None = None,
        store_keys: StoreKeys | None = None,
        like: "Retriever | None" = None,
    ) -> "Retriever":
        """The Retriever of a root's current release, or of the release in this folder.

        Every file is verified before it is parsed, wholly unless `verify` says less. ReleaseError where
        there is no release; IntegrityError, naming the file, where one is not as it was published.
        pseudonyms: the keys by which profiles are asked for under the ids of the service; without them a
        profile is named as the release has it. Who is forgotten (`scripts/forget.py`) is answered as a
        profile that nobody knows, from the next question on. store_keys: those that the profiles may be
        sealed under (`towers.data.privacy.sealed.read_store_keys`); StoreKeyError where the one that it needs
        is not there. like: an open one, whose titles, and what was made of them, are shared where both
        releases have the same: they are neither read nor made again.
        """
        forgotten = ForgottenFile(forgotten_of(Path(path)))
        release = read_release(Path(path), verify, store_keys, None if like is None else like.items)
        return cls(release, controls, forgotten, pseudonyms, like)

    @property
    def release_id(self) -> str:
        """The release that answers."""
        return self._release.release_id

    @property
    def context(self) -> Mapping[str, Any]:
        """The settings its towers were trained under, as plain values: `retriever.context["split"]`."""
        return self._release.context

    @property
    def items(self) -> Catalogue:
        """The titles by id: `retriever.items[item_id].title`."""
        return self._release.catalogue

    @property
    def num_events(self) -> Int64[np.ndarray, " N"]:
        """Train events of each row of `items`: what the popularity of its title is counted from."""
        return self._release.num_events

    @property
    def profile_ids(self) -> tuple[str, ...]:
        """The profiles that the release knows, with or without a history, under the ids that it has."""
        return self._askers.stored.profiles.ids

    @property
    def as_of_seconds(self) -> int:
        """The newest event of the histories, Unix seconds; 0 without events."""
        return self._askers.stored.as_of_seconds

    def history(self, profile_id: str) -> tuple[str, ...]:
        """Ids of what a profile watched, oldest first, but for what it removed.

        UnknownIdError where the profile is not known.
        """
        return self._ids(self._askers.history(profile_id))

    def exact(self) -> ExactRecommender | None:
        """The same vectors searched exactly: what the index approximates; None where lists answer."""
        answers = self._release.answers
        return answers.exact() if isinstance(answers, VectorAnswers) else None

    @property
    def eligibility(self) -> Eligibility:
        """How many titles pass a rule: `retriever.eligibility.count(rule)`."""
        return self._eligibility

    def rank(
        self,
        queries: Queries,
        k: int,
        rules: Sequence[Rule | None] | None = None,
        recall: float | None = None,
        vectors: QueryVectors | None = None,
    ) -> Rankings:
        """The best k items per query, the query's own history left out; see `Recommender.rank`.

        rules: of each query, which items it may be shown; every item where None. Answers are complete: k
        items, or all that pass where they are fewer. recall: how far a compiled index is searched, instead of
        as it was compiled for; QueryError where it does not reach that. vectors: of these queries, as
        `encode` gave them here or elsewhere; SkewError where another model did, and QueryError of a release
        of lists.
        A query without history is answered from the prior that was learned, so it is not tagged; one that a
        release of lists made none for is tagged NOT_PRECOMPUTED.
        """
        check_k(k)
        check_history(queries.history, self.items.num_rows)
        with stage(Stage.FILTER):
            allowed = self._eligibility.among(unseen(queries.history), rules or ())
        if vectors is not None:
            return self._by_vectors().nearest(vectors, k, allowed, recall)
        return self._release.answers.rank(queries, k, allowed, recall)

    def encode(self, queries: Queries) -> QueryVectors:
        """The vectors of queries, for `rank`: to be kept, or encoded on another machine than searches.

        QueryError where the release answers from lists.
        """
        return self._by_vectors().encode(queries)

    def views(self, first: int, last: int) -> list[View]:
        """What each of the profiles first to last - 1 of `profile_ids` may be shown, by its controls now.

        QueryError where these are no part of them, or there are controls, which go by the ids of the service,
        and profiles by pseudonyms.
        """
        return self._askers.views(first, last)

    def questions(
        self, first: int, last: int, time_seconds: int | None = None, views: Sequence[View] | None = None
    ) -> Queries:
        """What the profiles first to last - 1 of `profile_ids` ask, each with its stored history.

        time_seconds: of the request, Unix seconds; else, and never before, that of each one's last event.
        views: of each, how much of it may be read; whoever asks `rank` gives it their rules besides.
        """
        return self._askers.questions(first, last, time_seconds, views)

    def recommend(
        self,
        profile_id: str | None = None,
        *,
        history: GivenHistory | None = None,
        country: str | None = None,
        k: int = 10,
        time_seconds: int | None = None,
        rule: Rule | None = None,
        exclude: Sequence[str] = (),
        recall: float | None = None,
        reranker: Reranker | None = None,
    ) -> Ranking:
        """The best k titles for a profile, or for what is given as its history, oldest first.

        What was watched is left out, and so is what `exclude` names. rule: what may be shown at all, such as
        `Available(country, time_seconds)`; every title where None. recall: as in `rank`.
        reranker: chooses the k of more candidates, such as `Calibrated(retriever.items.table)`; it orders no
        answer from popularity.
        A history given takes the place of the stored one: item ids, all taken
        as watched at one moment, that of the request, or (item id, Unix seconds) pairs, which are ranked as
        the same history stored would be, its minutes aside. country: of the request, else the profile's own.
        time_seconds: of the request, Unix seconds; else, and never before, that of the last event. All
        eligible titles are answered where they are fewer than k.
        A history without one known title is answered from the prior that the towers learned for the country,
        tagged EMPTY_HISTORY; a profile of which nothing is known, or nobody, from popularity, tagged
        UNKNOWN_PROFILE; a history that a release of lists made none for as `rank` says. Raises QueryError
        where k, a history or a time is not as described.
        """
        with stage(Stage.QUERY):
            check_k(k)
            view = self._askers.view(profile_id)
            asks = self._askers.asked(profile_id, history, country, time_seconds, view)
        return self._best(asks, k, view.within(rule), exclude, recall, reranker)

    def _best(
        self,
        asks: Asked,
        k: int,
        rule: Rule | None,
        exclude: Sequence[str] = (),
        recall: float | None = None,
        reranker: Reranker | None = None,
    ) -> Ranking:
        k = min(k, len(self.items))
        with stage(Stage.FILTER):
            allowed = self._eligibility.among(unseen(asks.query.history, self._rows(exclude)), [rule])
        if asks.degraded is Degraded.UNKNOWN_PROFILE:
            best = self._by_popularity[allowed.mask(0, self.items.num_rows)[self._by_popularity]][:k]
            score = self._release.num_events[best]
            return self._ranking(best, score, asks.degraded, asks.num_unknown_items)
        width = k if reranker is None else min(max(k, reranker.num_candidates), len(self.items))
        rankings = self._release.answers.rank(asks.query, width, allowed, recall)
        if reranker is not None:
            rankings = reranker.rerank(asks.query, rankings, k)
        return self._first_of(rankings, asks.degraded, asks.num_unknown_items)

    def similar(
        self,
        item_id: str,
        k: int = 10,
        *,
        profile_id: str | None = None,
        rule: Rule | None = None,
        exclude: Sequence[str] = (),
    ) -> Ranking:
        """The k titles of highest inner product with this one, itself and what `exclude` names left out.

        rule: what may be shown at all; every title where None. profile_id: to whom, by whose controls.
        A release of lists answers what its rung recommends to one who watched this title alone.
        Raises UnknownIdError where the catalogue lacks the id, and QueryError on a negative k.
        """
        check_k(k)
        row = self._row(item_id)
        rule = self._askers.view(profile_id).within(rule)
        left_out = np.union1d(self._rows(exclude), [row])
        allowed = self._eligibility.among(Allowed.but(np.array([0, len(left_out)]), left_out), [rule])
        return self._first_of(self._release.answers.similar(row, min(k, len(self.items)), allowed))

    def search(
        self,
        text: str,
        *,
        profile_id: str | None = None,
        country: str | None = None,
        k: int = 10,
        rule: Rule | None = None,
        understood: Undo = True,
    ) -> Ranking:
        """The best k titles that match a text in title, cast, directors, genres or year, and pass the rule.

        Titles that the text spells come first, whole ones before those that begin so; then those that have
        its words, mistyped or not (`LexicalIndex.match`), and among these, where the release has a query
        tower, what only its vector finds (`best_first`). The vector is that of the text and, of a known
        profile, of its likes and country; without one it is the text's alone. Watched titles are answered
        too. Equal matches stand in the order of the profile's own scores, those of the prior where
        its history is empty, and by popularity without a known profile; a named profile's answer is tagged as
        in `recommend`.

        Words that say years, genres, people, what is for kids or not wanted are taken for rules, which the
        answer holds (`understood`), unless the text names a title. understood: False takes all words for
        words; some of an answer's own `understood` takes only those for rules.

        Where nothing matches, the answer is what the vector finds, or that of `recommend` without one, tagged
        NO_MATCH; where a title is named that has no licence by the rule, what else begins so and titles
        similar to it, tagged NOT_AVAILABLE.
        country is that of the request; without a profile it changes nothing. Raises QueryError on a blank
        text, one that is too long, and a k that is no count.
        """
        check_k(k)
        check_text(text)
        k = min(k, len(self.items))
        view = self._askers.view(profile_id)
        rule = view.within(rule)
        asks = None if profile_id is None else self._askers.asked(profile_id, None, country, None, view)
        reason = None if asks is None else asks.degraded
        known = None if asks is None or reason is Degraded.UNKNOWN_PROFILE else asks.query
        answer = self._texts.answer(text, k, rule, understood, known)
        reason = answer.degraded or reason
        if answer.degraded is not None and len(answer.row) == 0:
            other = asks or self._askers.asked(profile_id, None, country, None, view)
            return replace(self._best(other, k, rule), degraded=reason)
        return replace(self._ranking(answer.row, answer.score, reason), understood=answer.understood)

    def suggest(
        self, prefix: str, k: int = 10, *, profile_id: str | None = None, rule: Rule | None = None
    ) -> tuple[str, ...]:
        """Ids of at most k titles that a text may become as it is typed, the most likely first.

        Titles that begin with it, then those of which a later word does, then those that begin almost so; the
        more popular first. None where it has no letter yet. rule: what may be shown at all. profile_id: to
        whom, by whose controls. Raises QueryError on what is no text or too long, and a k that is no count.
        """
        check_k(k)
        if isinstance(prefix, str) and not prefix.strip():
            return ()
        check_text(prefix)
        return self._ids(self._texts.suggest(prefix, k, self._askers.view(profile_id).within(rule)))

    def explain(
        self,
        item_id: str,
        profile_id: str | None = None,
        *,
        history: GivenHistory | None = None,
        country: str | None = None,
        time_seconds: int | None = None,
        rule: Rule | None = None,
        most: int = MOST_CAUSES,
        metadata: bool = False,
    ) -> Explanation:
        """Why a title has its score for a profile: which watched titles lift it, and what rules say of it.

        The question is that of `recommend`, with the same arguments. most: causes that are named.
        metadata: also what the title's own facts add to the score; for that a release of towers and the extra
        `audit` are needed. Raises UnknownIdError where the catalogue lacks the id, QueryError where the
        metadata is asked for of a release that reads none, or a request is not as described there.
        """
        check_k(most)
        row = self._row(item_id)
        controls, viewing = self._askers.controls(profile_id), self._askers.viewing
        asks = self._askers.asked(profile_id, history, country, time_seconds, viewing.view(controls))
        rules = [*([(REQUEST_RULE, rule)] if rule is not None else []), *viewing.rules(controls)]
        return self._explainer.explain(asks, row, rules, most, metadata)

    def _by_vectors(self) -> VectorAnswers:
        answers = self._release.answers
        if not isinstance(answers, VectorAnswers):
            raise QueryError(f"{self.release_id}: answers from lists, by no vectors; expected an index")
        return answers

    def _row(self, item_id: str) -> int:
        if not isinstance(item_id, str) or item_id not in self.items:
            raise UnknownIdError(f"item {item_id!r} is not among the {len(self.items)} of {self.release_id}")
        return self.items.vocabulary.row(item_id)

    def _rows(self, item_ids: Sequence[str]) -> np.ndarray:
        return known_rows(self.items.vocabulary, item_ids)

    def _first_of(self, rankings: Rankings, reason: Degraded | None = None, num_unknown: int = 0) -> Ranking:
        """The ranking of the first line, its padding cut off."""
        row, score = rankings.item_row[0], rankings.score[0]
        there = row >= 0
        reason = reason or (rankings.degraded[0] if rankings.degraded else None)
        return self._ranking(row[there], score[there], reason, num_unknown)

    def _ranking(
        self, row: np.ndarray, score: np.ndarray, reason: Degraded | None, num_unknown: int = 0
    ) -> Ranking:
        with stage(Stage.IDS):
            return Ranking(self._ids(row), score.astype(np.float32), self.release_id, reason, num_unknown)

    def _ids(self, row: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
        return self.items.vocabulary.ids_of(row)
