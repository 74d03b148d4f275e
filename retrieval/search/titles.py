"""Titles by how they are written: whole, begun or mistyped; and what may become of what is typed."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Int32, Int64

from retrieval.search.grams import LetterPairs, distances
from retrieval.search.spellings import Spelling, asked_spellings, close_up
from towers.data.words import words_of

_MAX_YEAR_DIGITS = 4
_MOST_NEAR = 300
# A short text shares few pairs with what it was meant to be, and many others share as many.
_MOST_NEAR_SHORT, _SHORT = 800, 6
# Of a mistyped title, by the share of its letters that were edited.
_COST_OF_EDITS = 1.5
_PART_SHARE = 0.8
_LETTERS_FOR_EDITS = (3, 4, 12, 20)  # so many letters for one edit, two, three, four
_MAX_BOUNDARIES = 63
_MOST_WORDS_AROUND, _SENTENCE = 24, 4
_LAST = chr(0x10FFFF)


class Fit(IntEnum):
    """How a text spells a title; higher is better."""

    NONE = 0
    ALIKE = 1
    """No spelling begins with the text, and it mistypes one by at most a fifth of its letters."""
    BEGUN = 2
    """A spelling begins with the text, in the middle of a word."""
    ONE_SHORT = 3
    """A spelling is the text and one letter more."""
    BEGINS = 4
    """A spelling begins with the words of the text, or is a part of the title."""
    WHOLE = 5
    """A spelling is the text, or it and the year of release."""


@dataclass(frozen=True, slots=True, eq=False)
class Titles:
    """S spellings of N titles, closed up and sorted, each with its title; some stand twice.

    text: the spellings. row: int32 (S,). whole: whether it is one of the whole title. boundary: int64 (S,),
    bit n where a word ends after n letters. later, later_row: the same texts from their second words on.
    year: int32 (N,), -1 where unknown. order: int64 (N,), the titles by popularity, most first; place: int64
    (N,), the place of each in it. distinct: the spellings, each once; first: where each begins in text.
    """

    text: list[str]
    row: Int32[np.ndarray, " S"]
    whole: Bool[np.ndarray, " S"]
    boundary: Int64[np.ndarray, " S"]
    later: list[str]
    later_row: Int32[np.ndarray, " L"]
    year: Int32[np.ndarray, " N"]
    order: Int64[np.ndarray, " N"]
    place: Int64[np.ndarray, " N"]
    distinct: list[str]
    first: Int64[np.ndarray, " D1"]
    pairs: LetterPairs

    def fits(self, text: str) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """The titles that a text spells, whole or from their beginning, and how (above ALIKE), each once."""
        rows, kinds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for words in asked_spellings(text):
            asked = close_up(words)
            begun = self._beginning(asked)
            whole = slice(begun.start, bisect.bisect_right(self.text, asked))
            kind = np.full(begun.stop - begun.start, int(Fit.BEGUN))
            if len(asked) < _MAX_BOUNDARIES:
                ends = self.boundary[begun] >> len(asked)
                kind[ends == 2] = int(Fit.ONE_SHORT)  # its last word ends with the next letter
                kind[ends & 1 == 1] = int(Fit.BEGINS)
            kind[: whole.stop - whole.start] = np.where(self.whole[whole], int(Fit.WHOLE), int(Fit.BEGINS))
            rows.append(self.row[begun].astype(np.int64))
            kinds.append(kind)
            if len(words) > 1 and len(words[-1]) == _MAX_YEAR_DIGITS and words[-1].isdecimal():
                rows.append(self._of_year(close_up(words[:-1]), int(words[-1])))
                kinds.append(np.full(len(rows[-1]), int(Fit.WHOLE)))
        row, kind = np.concatenate(rows), np.concatenate(kinds)
        order = np.lexsort((-kind, row))
        once = np.diff(row[order], prepend=-1) > 0
        return row[order][once], kind[order][once]

    def near(self, text: str) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """The titles that a text mistypes, each once, and how near they are, 0 to 1.

        1 − 1.5 · edits / letters, of the nearest spelling; a fifth less where it is only a part of the title.
        """
        best: dict[int, float] = {}
        for words in asked_spellings(text):
            asked = close_up(words)
            bound = _bound(len(asked))
            if bound == 0:
                continue
            most = _MOST_NEAR if len(asked) > _SHORT else _MOST_NEAR_SHORT
            found, edits = self.pairs.near(asked, bound, most)
            for one, num_edits in zip(found.tolist(), edits.tolist(), strict=True):
                share = 1.0 - _COST_OF_EDITS * num_edits / len(asked)
                for place in range(int(self.first[one]), int(self.first[one + 1])):
                    row = int(self.row[place])
                    own = share if self.whole[place] else _PART_SHARE * share
                    if own > best.get(row, 0.0):
                        best[row] = own
        return np.fromiter(best, np.int64, len(best)), np.fromiter(best.values(), np.float32, len(best))

    def within(self, text: str) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """The titles that stand as a whole in a sentence, each once, and their share of the letters.

        A sentence has four words or more. Titles of one word are only its last: elsewhere they are words.
        """
        words = words_of(text)[-_MOST_WORDS_AROUND:]
        letters = len(close_up(words))
        best: dict[int, float] = {}
        for start in range(len(words) if len(words) >= _SENTENCE else 0):
            for end in range(start + (1 if start == len(words) - 1 else 2), len(words) + 1):
                asked = close_up(words[start:end])
                low = bisect.bisect_left(self.text, asked)
                if low == len(self.text) or not self.text[low].startswith(asked):
                    break  # no spelling begins so, nor with more words
                high = bisect.bisect_right(self.text, asked, low)
                for row in self.row[low:high][self.whole[low:high]].tolist():
                    best[row] = max(len(asked) / letters, best.get(row, 0.0))
        return np.fromiter(best, np.int64, len(best)), np.fromiter(best.values(), np.float32, len(best))

    def suggest(
        self, typed: Sequence[str], k: int, shown: Bool[np.ndarray, " N"] | None
    ) -> Int64[np.ndarray, " n"]:
        """The titles that the words typed may become, at most k, each once.

        First those that begin so, then those that do from a later word, then those that begin almost so; the
        more popular first. shown: which titles may be answered; all where None.
        """
        asked = close_up(typed)
        if not asked or k == 0:
            return np.zeros(0, np.int64)
        begun = self._beginning(asked)
        found = self._first(self.row[begun], k, shown, [])
        if len(found) < k:
            low = bisect.bisect_left(self.later, asked)
            high = bisect.bisect_left(self.later, asked + _LAST)
            found += self._first(self.later_row[low:high], k - len(found), shown, found)
        if len(found) < k:
            found += self._first(self._nearly_begun(asked), k - len(found), shown, found)
        return np.array(found, np.int64)

    def _nearly_begun(self, asked: str) -> np.ndarray:
        """Rows of spellings that begin within a few edits of the text; those of the fewest edits alone."""
        bound = min(2, _bound(len(asked)))
        if bound == 0:
            return self.row[:0]
        candidates = self.pairs.candidates(asked, _MOST_NEAR // 2, len(asked) - bound)
        spelled = [self.distinct[one] for one in candidates.tolist()]
        edits = np.full(len(spelled), bound + 1)
        for length in range(len(asked) - bound, len(asked) + bound + 1):
            cut = [one[:length] for one in spelled]
            edits = np.minimum(edits, distances(asked, cut, bound))
        near = candidates[edits == min(bound, int(edits.min(initial=bound + 1)))]
        return np.concatenate(
            [self.row[self.first[one] : self.first[one + 1]] for one in near.tolist()] or [self.row[:0]]
        )

    def _first(self, rows: np.ndarray, k: int, shown: np.ndarray | None, taken: Sequence[int]) -> list[int]:
        """The k most popular of these rows, each once, of those that may be shown and are not taken."""
        place = self.place[rows]
        if shown is not None:
            place = place[shown[rows]]
        # A title stands among them once for each of its spellings; few have as many as there are here.
        most = 8 * (k + len(taken)) + 64
        if len(place) > most:
            few = np.partition(place, most)[:most]
            if len(np.unique(few)) >= k + len(taken):
                place = few
        ordered = self.order[np.unique(place)].tolist()
        return [row for row in ordered if row not in taken][:k]

    def _beginning(self, asked: str) -> slice:
        """Where the spellings stand that begin with a text."""
        return slice(bisect.bisect_left(self.text, asked), bisect.bisect_left(self.text, asked + _LAST))

    def _of_year(self, asked: str, year: int) -> np.ndarray:
        """The titles of a year that a text spells as a whole."""
        low, high = bisect.bisect_left(self.text, asked), bisect.bisect_right(self.text, asked)
        row = self.row[low:high][self.whole[low:high]].astype(np.int64)
        of_year: np.ndarray = row[self.year[row] == year]
        return of_year


def build_titles(
    spelled: Sequence[Sequence[Spelling]], year: Int32[np.ndarray, " N"], num_events: Int64[np.ndarray, " N"]
) -> Titles:
    """The Titles of N lists of spellings (`spellings.spellings`), years, and events that make popularity."""
    each = [(row, one) for row, of_title in enumerate(spelled) for one in of_title]
    own = _sorted(
        text=pa.array([close_up(one.words) for _, one in each], pa.large_string()),
        row=pa.array([row for row, _ in each], pa.int32()),
        whole=pa.array([one.whole for _, one in each], pa.bool_()),
        boundary=pa.array([_boundary(one.words) for _, one in each], pa.int64()),
    )
    tails = dict.fromkeys(
        (close_up(one.words[start:]), row)
        for row, one in each
        if one.whole
        for start in range(1, len(one.words))
    )
    later = _sorted(
        text=pa.array([text for text, _ in tails], pa.large_string()),
        row=pa.array([row for _, row in tails], pa.int32()),
    )
    text: list[str] = own["text"].to_pylist()
    distinct = list(dict.fromkeys(text))
    begins = np.append(np.flatnonzero(_differ_from_last(own["text"])), len(text))
    order, place = _by_popularity(num_events)
    return Titles(
        text=text,
        row=own["row"].to_numpy(),
        whole=own["whole"].to_numpy(),
        boundary=own["boundary"].to_numpy(),
        later=later["text"].to_pylist(),
        later_row=later["row"].to_numpy(),
        year=year,
        order=order,
        place=place,
        distinct=distinct,
        first=begins,
        pairs=LetterPairs(distinct),
    )


def with_popularity(titles: Titles, num_events: Int64[np.ndarray, " N"]) -> Titles:
    """The same titles, as popular as these counts say."""
    order, place = _by_popularity(num_events)
    return replace(titles, order=order, place=place)


def _by_popularity(
    num_events: Int64[np.ndarray, " N"],
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """The titles, most popular first, and the place of each."""
    order = np.argsort(-num_events, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return order, place


def _sorted(**columns: pa.Array) -> pa.Table:
    """By the first column and then by the others: as Python sorts tuples, but without its lock."""
    order = pc.sort_indices(pa.table(columns), [(name, "ascending") for name in columns])
    return pa.table(columns).take(order).combine_chunks()


def _differ_from_last(column: pa.ChunkedArray) -> Bool[np.ndarray, " n"]:
    """Where a text is another than the one before it; the first is."""
    differ = np.ones(len(column), bool)
    if len(column) > 1:
        differ[1:] = pc.not_equal(column[1:], column[:-1]).to_numpy()
    return differ


def _boundary(words: Sequence[str]) -> int:
    """Bit n is set where a word ends after n letters, of the first 62."""
    mask, letters = 0, 0
    for word in words:
        letters += len(word)
        mask |= 1 << letters if letters < _MAX_BOUNDARIES else 0
    return mask


def _bound(letters: int) -> int:
    """How many edits may lie between a text of so many letters and what it was meant to be."""
    return bisect.bisect_right(_LETTERS_FOR_EDITS, letters)
