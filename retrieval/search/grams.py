"""Strings that share pairs of letters with a text: candidates for a measured distance, found in one count."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32, Int64
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from retrieval.index.compiled import compiled

_START, _END = 0x110000, 0x110001  # no character has these numbers
_BITS = 21
# A text of many letters is looked up by its rarest pairs alone: two edits change at most six.
_MOST_PAIRS = 8
_LONGEST = 1 << 30


class LetterPairs:
    """S distinct strings by the pairs of adjacent characters that they hold, their start and end included.

    8 bytes a distinct pair, 4 an entry: about 60 a string of 15 characters.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        length = np.fromiter(map(len, strings), np.int32, len(strings))
        # Kept in the order of their lengths, so that those of some lengths stand side by side.
        self._place = np.argsort(length, kind="stable")
        self._strings = [strings[one] for one in self._place.tolist()]
        self._length = length[self._place]
        code, owner = _pairs(self._strings, self._length)
        order = np.lexsort((owner, code))
        code, owner = code[order], owner[order]
        new = np.diff(code, prepend=-1) != 0
        once = new | (np.diff(owner, prepend=-1) != 0)
        code, owner, new = code[once], owner[once], new[once]
        self._code = code[new]
        self._offset = np.append(np.flatnonzero(new), len(code))
        self._string = owner.astype(np.int32)

    def candidates(
        self, text: str, most: int, shortest: int, longest: int | None = None
    ) -> Int64[np.ndarray, " n"]:
        """The strings of these lengths that share most pairs with the text, about so many, best first.

        Without a longest, the text is taken for the beginning of one: what follows it does not count.
        """
        place: np.ndarray = self._place[self._candidates(text, most, shortest, longest)]
        return place

    def _candidates(self, text: str, most: int, shortest: int, longest: int | None) -> np.ndarray:
        begun = longest is None
        letters = np.array([_START, *map(ord, text)] if begun else [_START, *map(ord, text), _END])
        string, apart = _sharing_most(
            letters,
            0 if begun else len(text),
            self._code,
            self._offset,
            self._string,
            self._length,
            most,
            shortest,
            _LONGEST if longest is None else longest,
        )
        best: np.ndarray = string[np.argsort(apart, kind="stable")[:most]]
        return best

    def near(
        self, text: str, bound: int, most: int
    ) -> tuple[Int64[np.ndarray, " n"], Int32[np.ndarray, " n"]]:
        """Of the candidates, those within so many edits of the text, and their distances.

        Inserting, deleting and replacing a character and swapping two neighbours are one edit each: optimal
        string alignment, Boytsov 2011, doi:10.1145/1963190.1963191.
        """
        string = self._candidates(text, most, len(text) - bound, len(text) + bound)
        edits = distances(text, [self._strings[one] for one in string.tolist()], bound)
        return self._place[string[edits <= bound]], edits[edits <= bound]


def distances(text: str, strings: Sequence[str], bound: int) -> Int32[np.ndarray, " n"]:
    """The edits between a text and each string; bound + 1 where they are more than bound."""
    if not strings:
        return np.zeros(0, np.int32)
    edits: np.ndarray = cdist([text], strings, scorer=OSA.distance, score_cutoff=bound, dtype=np.int32)[0]
    return edits


@compiled
def _sharing_most(
    letters: np.ndarray,  # int64: the text with its marks
    num_letters: int,  # of the text; 0 where it is the beginning of one
    code: np.ndarray,  # int64 (C,), rising
    offset: np.ndarray,  # int64 (C + 1,): pair c stands in the strings string[offset[c]] to …
    string: np.ndarray,  # int32 (E,), rising in each pair
    length: np.ndarray,  # int32 (S,), rising
    most: int,
    shortest: int,  # strings of these lengths count
    longest: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Strings that share t pairs or more, and how far each is; t is the most that leaves `most` of them.

    How far: half a pair for a character of difference, so that what is as near in both ways comes first, less
    the pairs that it shares.
    """
    place = _rarest(letters, code, offset)
    low = np.searchsorted(length, shortest)
    high = np.searchsorted(length, longest, side="right")
    first = np.empty((len(place), 2), np.int64)
    for i in range(len(place)):
        pair = string[offset[place[i]] : offset[place[i] + 1]]
        first[i, 0] = offset[place[i]] + np.searchsorted(pair, low)
        first[i, 1] = offset[place[i]] + np.searchsorted(pair, high)
    shared = np.zeros(high - low, np.uint8)
    at_least = np.zeros(len(place) + 1, np.int64)
    for i in range(len(place)):
        for entry in range(first[i, 0], first[i, 1]):
            own = string[entry] - low
            shared[own] += 1
            at_least[shared[own]] += 1
    fewest = len(place)
    while fewest > 1 and at_least[fewest] < most:
        fewest -= 1
    found = np.empty(at_least[fewest], np.int64)
    apart = np.empty(at_least[fewest], np.float64)
    size = 0
    for i in range(len(place)):
        for entry in range(first[i, 0], first[i, 1]):
            own = string[entry] - low
            if shared[own] >= fewest:
                found[size] = string[entry]
                apart[size] = -np.float64(shared[own])
                if num_letters > 0:
                    apart[size] += 0.5 * abs(length[string[entry]] - num_letters)
                size += 1
                shared[own] = 0
    return found, apart


@compiled
def _rarest(letters: np.ndarray, code: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Where the pairs of a text stand that are in the fewest strings, the rarest first."""
    pair = np.sort(letters[:-1] << _BITS | letters[1:])
    place, size = np.empty(_MOST_PAIRS, np.int64), np.empty(_MOST_PAIRS, np.int64)
    num = 0
    for i in range(len(pair)):
        if i > 0 and pair[i] == pair[i - 1]:
            continue
        own = np.searchsorted(code, pair[i])
        if own == len(code) or code[own] != pair[i]:
            continue
        strings = offset[own + 1] - offset[own]
        if num == _MOST_PAIRS and strings >= size[num - 1]:
            continue
        at = min(num, _MOST_PAIRS - 1)
        while at > 0 and size[at - 1] > strings:
            place[at], size[at] = place[at - 1], size[at - 1]
            at -= 1
        place[at], size[at] = own, strings
        num = min(num + 1, _MOST_PAIRS)
    return place[:num]


def _pairs(strings: Sequence[str], length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 codes of all pairs, and the string that each stands in."""
    letters = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    # Every string between its two marks.
    marked = np.full(len(letters) + 2 * len(strings), _END, np.int64)
    owner = np.repeat(np.arange(len(strings)), length + 2)
    start = np.cumsum(length + 2) - (length + 2)
    marked[start] = _START
    inside = np.ones(len(marked), bool)
    inside[start] = inside[start + length + 1] = False
    marked[inside] = letters
    within = owner[1:] == owner[:-1]
    code: np.ndarray = (marked[:-1] << _BITS | marked[1:])[within]
    return code, owner[:-1][within]
