"""Text → the titles that match it by spelling and by words: the lexical half of search.

What fits a title as it is spelled stands first; the others by how much of the text they have, mistyped or
not.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Int64

from retrieval.search.lexicon import Lexicon, build_lexicon
from retrieval.search.spellings import spellings
from retrieval.search.titles import Fit, Titles, build_titles, with_popularity
from towers.data.words import words_of
from towers.errors import QueryError

MAX_CHARACTERS = 1000
"""The longest text that is searched for; longer ones are no search and are refused."""

# Words and likeness of spelling add up to less than 2; titles that the text spells stand above.
_SCORE_OF_FIT = np.zeros(len(Fit), np.float32)
_SCORE_OF_FIT[[Fit.BEGUN, Fit.ONE_SHORT, Fit.BEGINS, Fit.WHOLE]] = 2.0, 2.5, 3.0, 4.0
# Of titles that are only alike, those much less alike than the best are left out.
_ALIKE = 0.25
# One and a half times the share of letters edited is lost; a fifth of them leaves this much.
_LITTLE_MISTYPED = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Titles that match a text, in order of rows: their scores, and how each is spelled by it (`Fit`)."""

    row: Int64[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]
    fit: Int64[np.ndarray, " n"]

    @property
    def num_spelled(self) -> int:
        """How many of them the text spells or nearly does: these stand first, whatever else is found."""
        return int(np.count_nonzero(self.fit >= Fit.ALIKE))

    def only(self, kept: Bool[np.ndarray, " n"]) -> "Matches":
        """Those of the matches."""
        return Matches(self.row[kept], self.score[kept], self.fit[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Spelled:
    """The titles that a text spells or mistypes, each once: how (`Fit`), and what that scores."""

    row: Int64[np.ndarray, " n"]
    fit: Int64[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class LexicalIndex:
    """Titles by their words and spellings. See `lexical_index`. Safe for any number of threads."""

    titles: Titles
    lexicon: Lexicon

    def with_popularity(self, num_events: Int64[np.ndarray, " N"]) -> "LexicalIndex":
        """The same titles, as popular as these counts say; all else is shared."""
        return LexicalIndex(with_popularity(self.titles, num_events), self.lexicon)

    def match(self, text: str) -> Matches:
        """The titles that match a text; none where nothing does.

        Score: 4 where the text is a spelling of the title, with or without its year; 3 where one begins with
        its words, 2 or 2.5 where one begins so in the middle of a word; else the share of the words that the
        title has (`Lexicon.score`), and, where no title begins with the text, how near its spelling is
        (`Titles.near`): less than 2 together.
        """
        return self.with_words(self.spelled(text), text)

    def spelled(self, text: str) -> Spelled:
        """The titles that a text spells, or else those that it may mistype, or else those that it names."""
        row, fit = self.titles.fits(text)
        if len(row):
            return Spelled(row, fit, _SCORE_OF_FIT[fit])
        row, near = self.titles.near(text)
        if not len(row):
            row, near = self.titles.within(text)
            return Spelled(row, np.full(len(row), Fit.NONE.value), near)
        return Spelled(row, np.where(near >= _LITTLE_MISTYPED, Fit.ALIKE, Fit.NONE).astype(np.int64), near)

    def with_words(self, spelled: Spelled, text: str) -> Matches:
        """The titles that a text spells, and those that have its words."""
        score = self.lexicon.score(words_of(text))
        fit = np.zeros(len(score), np.int64)
        row, own = spelled.row, spelled.score
        if len(row) and spelled.fit[0] > Fit.ALIKE:
            score[row] = own
        else:
            kept = (own >= own.max(initial=0.0) - _ALIKE) | (score[row] > 0.0)
            score[row[kept]] += own[kept]
        fit[row] = spelled.fit
        found = np.flatnonzero(score > 0.0)  # of a mask it is many times as fast as of numbers
        return Matches(found, score[found], fit[found])


def lexical_index(items: pa.Table, num_events: Int64[np.ndarray, " N"]) -> LexicalIndex:
    """The LexicalIndex of an items table (`towers.data.schema.ITEMS`). num_events: (N,), their popularity."""
    spelled = [spellings(title) for title in items["title"].to_pylist()]
    year = pc.fill_null(items["release_year"], -1).to_numpy().astype(np.int32)
    own = [list(dict.fromkeys(word for one in each for word in one.words)) for each in spelled]
    return LexicalIndex(build_titles(spelled, year, num_events), build_lexicon(items, own))


def check_text(text: object) -> None:
    """Raises QueryError, which never holds the text, unless it is one to search for."""
    if not isinstance(text, str):
        raise QueryError(f"search: the text is a {type(text).__name__}; expected a string")
    if not text.strip():
        raise QueryError("search: the text is blank; expected at least one word")
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"search: the text has {len(text)} characters; expected <= {MAX_CHARACTERS}")
