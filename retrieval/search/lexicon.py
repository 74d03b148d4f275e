"""The words of a catalogue's texts, which titles each stands in, and how much that says: BM25F.

A word of a title is worth more than a genre; a word that few titles have, more than one that many have. Words
that no title has are looked up as the beginning of others, and as others mistyped.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int64

from retrieval.catalogue import NO_TITLE
from retrieval.eligibility.inverted import flattened
from retrieval.index.compiled import compiled
from retrieval.search.grams import LetterPairs
from towers.data.ngrams import split_words

# What a word counts for by the field it stands in. They are lists, or as short as lists: that one is long
# says nothing of what it is about, so BM25F's b is 0 in all of them.
_FIELDS = {"cast": 2.0, "directors": 2.0, "release_year": 1.5, "genres": 1.2, "sub_genres": 1.2}
_TITLE_WEIGHT = 3.0
_SATURATION = 1.2  # BM25's k1
_BEGUN_SHARE = 0.6  # of a word that only begins with the one asked
_MISTYPED_SHARE = (0.0, 0.8, 0.6)  # of a word so many edits away; the first is the word itself
_MIN_BEGUN, _MIN_MISTYPED = 2, 4
_MOST_MISTYPED = 8
# Of a longer text the rarest words are looked up; the others say the least and cost the most.
_MOST_WORDS = 24


@dataclass(frozen=True, slots=True)
class Lexicon:
    """An inverted index from W words to N titles.

    num_titles: those that there are, without blank lines. words: all words, sorted. offset: int64 (W + 1,);
    word w stands in the titles row[offset[w]:offset[w + 1]], where its weight is weight[...], 0 to 1: how
    much it counts there.
    """

    num_items: int
    num_titles: int
    words: list[str]
    offset: Int64[np.ndarray, " W1"]
    row: Int64[np.ndarray, " P"]
    weight: Float32[np.ndarray, " P"]
    pairs: LetterPairs

    def score(self, asked: Sequence[str]) -> Float32[np.ndarray, " N"]:
        """How much of the words each title has, 0 to 1; 0 where it has none.

        Σ_w idf(w) weight(w, title) / Σ_w idf(w), over the distinct words asked, idf(w) = ln(1 + (N − n + ½) /
        (n + ½)) with n titles of the word, or of what it is taken for; weight = f / (k1 + f), f = Σ of the
        weights of the fields that it stands in. Source: Robertson, Zaragoza and Taylor 2004, Simple BM25
        extension to multiple weighted fields, doi:10.1145/1031171.1031181.
        """
        distinct = list(dict.fromkeys(asked))
        if len(distinct) > _MOST_WORDS:
            distinct = sorted(distinct, key=self._num_titles)[:_MOST_WORDS]
        score = np.zeros(self.num_items, np.float32)
        total = 0.0
        for word in distinct:
            row, weight = self._titles_of(word, last=word == asked[-1])
            rarity = float(np.log1p((self.num_titles - len(row) + 0.5) / (len(row) + 0.5)))
            score[row] += np.float32(rarity) * weight
            total += rarity
        return score / np.float32(total) if total > 0.0 else score

    def _num_titles(self, word: str) -> int:
        place = bisect.bisect_left(self.words, word)
        known = place < len(self.words) and self.words[place] == word
        return int(self.offset[place + 1] - self.offset[place]) if known else 0

    def _titles_of(self, word: str, *, last: bool) -> tuple[np.ndarray, np.ndarray]:
        """The titles of a word, each once, and its weight there.

        The last word may still be typed, so it is also what it begins; a word that is not known is that, or
        mistyped.
        """
        first = bisect.bisect_left(self.words, word)
        own = slice(self.offset[first], self.offset[first])
        known = first < len(self.words) and self.words[first] == word
        if known:
            own = slice(self.offset[first], self.offset[first + 1])
        if known and not last:
            return self.row[own], self.weight[own]
        rows, weights = [self.row[own]], [self.weight[own]]
        if len(word) >= _MIN_BEGUN or not word.isascii():
            end = bisect.bisect_left(self.words, word + chr(0x10FFFF))
            begun = slice(self.offset[first + known], self.offset[end])
            rows.append(self.row[begun])
            weights.append(np.float32(_BEGUN_SHARE) * self.weight[begun])
        if not known:
            for place, edits in self._mistyped(word):
                part = slice(self.offset[place], self.offset[place + 1])
                rows.append(self.row[part])
                weights.append(np.float32(_MISTYPED_SHARE[edits]) * self.weight[part])
        return _best_of(np.concatenate(rows), np.concatenate(weights), self.num_items)

    def _mistyped(self, word: str) -> list[tuple[int, int]]:
        """Words that this may be, nearest first, and the edits: one in a short word, two in a long one."""
        if len(word) < _MIN_MISTYPED:
            return []
        place, edits = self.pairs.near(word, 1 if len(word) < 8 else 2, 100)
        order = np.argsort(edits, kind="stable")[:_MOST_MISTYPED]
        return list(zip(place[order].tolist(), edits[order].tolist(), strict=True))


def build_lexicon(items: pa.Table, title_words: Sequence[Sequence[str]]) -> Lexicon:
    """The Lexicon of an items table (`towers.data.schema.ITEMS`), with these words for each title's own."""
    num_items = items.num_rows
    count = np.fromiter(map(len, title_words), np.int64, num_items)
    own = pa.array([word for words in title_words for word in words], pa.large_string())
    parts = [(np.repeat(np.arange(num_items), count), own, _TITLE_WEIGHT)]
    for field, weight in _FIELDS.items():
        texts, row = _texts(items[field])
        place, words = split_words(texts)
        parts.append((row[place], words, weight))
    row = np.concatenate([one for one, _, _ in parts])
    worth = np.concatenate([np.full(len(one), weight, np.float32) for one, _, weight in parts])
    coded = pa.chunked_array([words for _, words, _ in parts]).combine_chunks().dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    word = rank[coded.indices.to_numpy()] if len(order) else np.zeros(0, np.int64)
    entry = word * num_items + row
    order_of_entry = np.argsort(entry, kind="stable")
    entry = entry[order_of_entry]
    once = np.flatnonzero(np.diff(entry, prepend=-1))
    summed = np.add.reduceat(worth[order_of_entry], once) if len(once) else worth
    entry = entry[once]
    known = coded.dictionary.take(pa.array(order)).to_pylist()
    return Lexicon(
        num_items=num_items,
        num_titles=pc.sum(pc.not_equal(items["item_id"], NO_TITLE)).as_py() or 0,
        words=known,
        offset=np.searchsorted(entry, np.arange(len(order) + 1) * num_items),
        row=entry % max(1, num_items),
        weight=summed / (np.float32(_SATURATION) + summed),
        pairs=LetterPairs(known),
    )


def _texts(column: pa.ChunkedArray) -> tuple[pa.Array, Int64[np.ndarray, " t"]]:
    """The texts of a column, one or a list a title, and the row of each; nulls are left out."""
    if pa.types.is_list(column.type):
        column, row = flattened(column)
    else:
        row = np.arange(len(column))
    known = column.is_valid()
    texts = column.filter(known).cast(pa.large_string())
    return texts.combine_chunks(), row[known.to_numpy()]


@compiled
def _best_of(row: np.ndarray, weight: np.ndarray, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row once, with the greatest of its weights, which are above 0."""
    best = np.zeros(num_items, np.float32)
    found = np.empty(min(len(row), num_items), np.int64)
    size = 0
    for entry in range(len(row)):
        own = row[entry]
        if best[own] == 0.0:
            found[size] = own
            size += 1
        best[own] = max(best[own], weight[entry])
    return found[:size], best[found[:size]]
