"""Text → titles that match it, by the words they share: no learning, no index library.

The first form of search. A text query tower takes its place later, behind the same signature.
"""

import bisect
import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from towers.data.words import words_of
from towers.errors import QueryError

MAX_CHARACTERS = 1000
"""The longest text that is searched for; longer ones are no search and are refused."""

_IN_BRACKETS = re.compile(r"\([^()]*\)")
# How much a match in a field counts; the title's is the measure.
_FIELDS = {"title": 1.0, "cast": 0.8, "directors": 0.8, "release_year": 0.7, "genres": 0.6, "sub_genres": 0.6}
# A word that only begins with the asked one counts for less than the word itself.
_PREFIX_SHARE = 0.6
_MIN_PREFIX = 2


@dataclass(frozen=True, slots=True)
class TextMatch:
    """An inverted index from words to titles.

    words: all words, sorted. offset: int64 (words + 1,); word w stands in the titles
    row[offset[w]:offset[w+1]], with the weight of the best field it stands in. exact: rows by the sorted
    words of a whole title, with and without its year and what stands in brackets.
    """

    num_items: int
    words: list[str]
    offset: Int64[np.ndarray, " W1"]
    row: Int64[np.ndarray, " P"]
    weight: Float32[np.ndarray, " P"]
    exact: dict[tuple[str, ...], list[int]]

    def match(self, text: str) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Rows that share a word with the text, and their scores; in row order, none where nothing matches.

        A score in (0, 1] is the share of the text's words that the title has, each weighted by its inverse
        document frequency, by the field it stands in, and by whether it stands there whole or as a beginning.
        The text being a whole title, in any order of words, adds 1, so that those titles come first.
        Raises QueryError on a text that is blank or longer than MAX_CHARACTERS.
        """
        if not text.strip():
            raise QueryError("search: the text is blank; expected at least one word")
        if len(text) > MAX_CHARACTERS:
            raise QueryError(f"search: the text has {len(text)} characters; expected <= {MAX_CHARACTERS}")
        asked = words_of(text)
        score = np.zeros(self.num_items, np.float64)
        total = 0.0
        for word in dict.fromkeys(asked):
            share = self._share(word)
            rarity = np.log1p(self.num_items / (1 + np.count_nonzero(share)))
            score += rarity * share
            total += rarity
        if total > 0.0:
            score /= total
        score[self.exact.get(tuple(sorted(asked)), [])] += 1.0
        row = np.flatnonzero(score)
        return row, score[row].astype(np.float32)

    def _share(self, word: str) -> np.ndarray:
        """float64 (N,): how well each title has this one word, 0 to 1."""
        share = np.zeros(self.num_items, np.float64)
        first = bisect.bisect_left(self.words, word)
        if len(word) >= _MIN_PREFIX:
            last = bisect.bisect_left(self.words, word + chr(0x10FFFF))
            part = slice(self.offset[first], self.offset[last])
            np.maximum.at(share, self.row[part], _PREFIX_SHARE * self.weight[part])
        if first < len(self.words) and self.words[first] == word:
            part = slice(self.offset[first], self.offset[first + 1])
            share[self.row[part]] = np.maximum(share[self.row[part]], self.weight[part])
        return share


def text_match(items: pa.Table) -> TextMatch:
    """The TextMatch of an items table (`towers.data.schema.ITEMS`)."""
    best: dict[str, dict[int, float]] = defaultdict(dict)
    for field, weight in _FIELDS.items():
        for row, value in enumerate(items[field].to_pylist()):
            values = value if isinstance(value, list) else [] if value is None else [value]
            for word in {word for one in values for word in words_of(str(one))}:
                best[word][row] = max(weight, best[word].get(row, 0.0))
    words = sorted(best)
    counts = np.array([len(best[word]) for word in words], np.int64)
    return TextMatch(
        num_items=items.num_rows,
        words=words,
        offset=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)]),
        row=np.array([row for word in words for row in best[word]], np.int64),
        weight=np.array([weight for word in words for weight in best[word].values()], np.float32),
        exact=_whole_titles(items),
    )


def _whole_titles(items: pa.Table) -> dict[tuple[str, ...], list[int]]:
    """Rows by the sorted words of the title, with and without what stands in brackets, and the year."""
    exact: dict[tuple[str, ...], list[int]] = defaultdict(list)
    titles, years = items["title"].to_pylist(), items["release_year"].to_pylist()
    for row, (title, year) in enumerate(zip(titles, years, strict=True)):
        spellings = [words_of(title), words_of(_IN_BRACKETS.sub(" ", title))]
        if year is not None:
            spellings += [[*words, str(year)] for words in spellings if words]
        for key in {tuple(sorted(words)) for words in spellings if words}:
            exact[key].append(row)
    return dict(exact)
