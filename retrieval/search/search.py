"""Text search over one catalogue: what matches, what was understood, and what may not be shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from retrieval.catalogue import Catalogue
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.rules import All, Available, Rule
from retrieval.search.lexical import LexicalIndex, Matches, Spelled, lexical_index
from retrieval.search.titles import Fit
from retrieval.search.understanding import Reading, Understanding, Understood
from towers.data.words import words_of
from towers.errors import QueryError

Undo = bool | Sequence[Understood]
"""Whether words are understood; or which of what an earlier answer understood still is."""

# What a rule that need not hold adds; a word of the title that is found adds about three times as much.
_LIFT = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Titles that match and may be shown, what was understood, and the row of a title that is withheld.

    withheld: one that the text names, that no licence allows, and that no other of its name replaces. rule:
    what all that is answered must pass, what was understood among it; None where everything may be.
    """

    matches: Matches
    understood: tuple[Understood, ...] = ()
    withheld: int | None = None
    rule: Rule | None = None


class TextSearch:
    """Finds the titles of a catalogue by text. See `text_search`."""

    def __init__(self, lexical: LexicalIndex, understanding: Understanding, eligibility: Eligibility) -> None:
        self._lexical, self._understanding, self._eligibility = lexical, understanding, eligibility

    def with_popularity(self, num_events: Int64[np.ndarray, " N"]) -> "TextSearch":
        """The same titles, as popular as these counts say; all else is shared."""
        return TextSearch(self._lexical.with_popularity(num_events), self._understanding, self._eligibility)

    @property
    def place(self) -> Int64[np.ndarray, " N"]:
        """The place of each title by popularity, 0 the most popular."""
        return self._lexical.titles.place

    def find(self, text: str, rule: Rule | None = None, understood: Undo = True) -> Found:
        """The titles that match a text, of those that pass a rule; see `Retriever.search`."""
        kept = _rules_kept(understood)
        spelled = self._lexical.spelled(text)
        if understood is not False:
            reading = self._understanding.read(text, kept)
            if reading.understood and not _names_title(spelled, text, reading):
                required = [one.rule for one in reading.understood if one.required]
                shown = All((*required, *([] if rule is None else [rule])))
                read = self._read(spelled, reading, rule, shown)
                if len(read.row):
                    return Found(read, reading.understood, rule=shown)
        matches = self._lexical.with_words(spelled, text)
        passing = matches.only(self._passes(matches.row, rule))
        return Found(passing, withheld=self._withheld(matches, rule), rule=rule)

    def suggest(self, prefix: str, k: int, rule: Rule | None = None) -> Int64[np.ndarray, " n"]:
        """The titles that a text may become, of those that pass a rule; see `Retriever.suggest`."""
        shown = None if rule is None else self._mask(rule)
        return self._lexical.titles.suggest(words_of(prefix), k, shown)

    def _read(self, spelled: Spelled, reading: Reading, rule: Rule | None, required: All) -> Matches:
        """The matches of what is left of a text, of titles that pass what is required of them."""
        lifts = [one.rule for one in reading.understood if not one.required]
        left = self._lexical.match(" ".join(reading.words)) if reading.words else None
        score = np.zeros(self._eligibility.num_rows, np.float32)
        fit = np.zeros(len(score), np.int64)
        if left is not None:
            score[left.row], fit[left.row] = left.score, left.fit
        # Products with masks are many times as fast as assignments by them.
        for lift in lifts:
            score += np.float32(_LIFT) * (self._mask(lift) & (fit <= Fit.ALIKE))
        shown = self._mask(required)
        score *= shown
        if any(one.required for one in reading.understood) and not score.any():
            score += shown
        # What the whole text spells stands first, whatever its words were taken for.
        first = (spelled.fit > Fit.ALIKE) & self._passes(spelled.row, rule)
        score[spelled.row[first]], fit[spelled.row[first]] = spelled.score[first], spelled.fit[first]
        row = np.flatnonzero(score > 0.0)
        return Matches(row, score[row], fit[row])

    def _withheld(self, matches: Matches, rule: Rule | None) -> int | None:
        """The most popular title that the text names, where only a licence keeps all of that name from it."""
        best = int(matches.fit.max(initial=0))
        if rule is None or best not in (Fit.WHOLE, Fit.ALIKE):
            return None
        named = matches.row[(matches.fit == best) & (matches.score == matches.score.max())]
        if self._passes(named, rule).any():
            return None
        parts = _conjuncts(rule)
        others = tuple(part for part in parts if not isinstance(part, Available))
        unlicensed = named[self._passes(named, All(others))] if len(others) < len(parts) else named[:0]
        return int(unlicensed[np.argmin(self.place[unlicensed])]) if len(unlicensed) else None

    def _passes(self, row: Int64[np.ndarray, " n"], rule: Rule | None) -> Bool[np.ndarray, " n"]:
        if rule is None:
            return np.ones(len(row), bool)
        passes: np.ndarray = self._mask(rule)[row]
        return passes

    def _mask(self, rule: Rule) -> Bool[np.ndarray, " N"]:
        bitmap = self._eligibility.bitmap(rule)
        return np.unpackbits(bitmap, count=self._eligibility.num_rows, bitorder="little").view(bool)


def text_search(
    catalogue: Catalogue, num_events: Int64[np.ndarray, " N"], eligibility: Eligibility
) -> TextSearch:
    """The TextSearch of a catalogue, seconds for 60,000 titles. num_events: of each title, its popularity."""
    table = catalogue.table
    return TextSearch(lexical_index(table, num_events), Understanding(table), eligibility)


def as_spelled_first(matches: Matches, others: Int64[np.ndarray, " n"]) -> Matches:
    """The matches that begin with the text; then other rows, best first, at reciprocal ranks."""
    spelled = matches.only(matches.fit > Fit.ALIKE)
    others = others[~np.isin(others, spelled.row)]
    row = np.concatenate([spelled.row, others])
    score = np.concatenate([spelled.score, 1.0 / np.arange(1, len(others) + 1)]).astype(np.float32)
    return Matches(row, score, np.concatenate([spelled.fit, np.zeros(len(others), np.int64)]))


def _names_title(spelled: Spelled, text: str, reading: Reading) -> bool:
    """Whether a text is, or is about to be, the name of a title, so that its words are no wishes."""
    best = int(spelled.fit.max(initial=0))
    if best == Fit.ALIKE:
        return bool(reading.words)  # what is understood in full mistypes nothing
    return best == Fit.WHOLE or (best > Fit.ALIKE and len(words_of(text)) > 1)


def _rules_kept(understood: object) -> list[Rule] | None:
    """The rules that may be read from a text, None for all."""
    if isinstance(understood, bool):
        return None
    if not isinstance(understood, Sequence) or not all(isinstance(one, Understood) for one in understood):
        raise QueryError(
            f"search: understood is a {type(understood).__name__}; expected True, False, or some of what an "
            "answer understood"
        )
    return [one.rule for one in understood]


def _conjuncts(rule: Rule) -> list[Rule]:
    """The rules of which all must pass."""
    if isinstance(rule, All):
        return [part for one in rule.rules for part in _conjuncts(one)]
    return [rule]
