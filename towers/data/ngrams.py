"""Texts of any language → hashed n-grams of characters and whole words, many texts at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from towers.data.hashing import buckets_of, fnv1a_of
from towers.data.words import words_of

SHORTEST, LONGEST = 3, 5
"""Characters of the n-grams, the marks at the ends of a word among them."""

_ENTRIES_AT_ONCE = 1 << 22


def ngram_buckets(
    texts: pa.Array, num_buckets: int, first: int = 0
) -> tuple[Int64[np.ndarray, " n1"], Int64[np.ndarray, " V"]]:
    """The buckets of each text's n-grams, packed: text i has bucket[offset[i]:offset[i + 1]].

    Words are those of `words_of`, only the first so many of a text, 0 for all. Each is marked at its ends,
    <word>, and gives itself and every run of 3 to 5 of its characters: those that share a stem, an ending or
    a spelling share most of them. A bucket stands once per text, in rising order.
    Source: the subwords of fastText, Bojanowski et al. 2017, doi:10.1162/tacl_a_00051.
    """
    parent, words = split_words(texts, first)
    coded = words.dictionary_encode()  # so that each distinct word is cut up once
    start, bucket = word_buckets(coded.dictionary, num_buckets)
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    count = np.diff(start)[code]
    pieces = []
    # Whole texts at a time: what one has twice is found by sorting, which takes room.
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
    stop_of_text = np.searchsorted(parent, np.arange(len(texts) + 1))
    text = 0
    while text < len(texts):
        enough = before[stop_of_text[text]] + _ENTRIES_AT_ONCE
        after = max(text + 1, int(np.searchsorted(before[stop_of_text], enough, side="right")) - 1)
        part = slice(stop_of_text[text], stop_of_text[after])
        own = bucket[_runs(start[code[part]], count[part])]
        key = np.sort(np.repeat(parent[part], count[part]) * num_buckets + own)
        pieces.append(key[np.diff(key, prepend=-1) > 0])
        text = after
    key = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
    offset = np.searchsorted(key, np.arange(len(texts) + 1) * num_buckets)
    return offset, key % num_buckets


def split_words(texts: pa.Array, first: int = 0) -> tuple[Int64[np.ndarray, " w"], pa.Array]:
    """The place of its text, and the word, for every word of a large_string array; the first so many of each.

    What `words_of` gives, which is asked only where a text is not plain ASCII.
    """
    plain = pc.fill_null(pc.string_is_ascii(texts), True)
    spelt = pc.replace_substring_regex(pc.ascii_lower(texts), "['`]+", "")
    spelt = pc.replace_substring_regex(spelt, "[^a-z0-9_]+", " ")
    others = pa.array(
        (" ".join(words_of(text)) for text in texts.filter(pc.invert(plain)).to_pylist()), pa.large_string()
    )
    lists = pc.split_pattern(pc.replace_with_mask(spelt, pc.invert(plain), others), " ")
    row, words = pc.list_parent_indices(lists).to_numpy().astype(np.int64), lists.flatten()
    filled = pc.not_equal(words, "")
    row, words = row[filled.to_numpy(zero_copy_only=False)], words.filter(filled)
    if first:
        num_words = np.bincount(row, minlength=len(texts))
        early = np.arange(len(row)) - (np.cumsum(num_words) - num_words)[row] < first
        row, words = row[early], words.filter(pa.array(early))
    return row, words


def word_buckets(
    words: pa.Array, num_buckets: int
) -> tuple[Int64[np.ndarray, " w1"], Int64[np.ndarray, " g"]]:
    """The buckets of each word and its n-grams, packed as in `ngram_buckets`; some stand twice.

    words: large_string (w,), as `split_words` gives them.
    """
    opening, closing, nothing = (pa.scalar(mark, pa.large_string()) for mark in ("<", ">", ""))
    marked = pc.binary_join_element_wise(opening, words, closing, nothing).cast(pa.large_binary())
    _, offsets, content = marked.buffers()
    if len(marked) == 0 or content is None:
        return np.zeros(len(words) + 1, np.int64), np.zeros(0, np.int64)
    edge = np.frombuffer(offsets, np.int64)[marked.offset : marked.offset + len(marked) + 1]
    byte = np.frombuffer(content, np.uint8)
    # A character starts at every byte that continues none; the last edge ends the last one.
    starts = np.append(np.flatnonzero((byte[edge[0] : edge[-1]] & 0xC0) != 0x80) + edge[0], edge[-1])
    word_at = np.searchsorted(edge, starts, side="right") - 1
    word, start, stop = [np.arange(len(words))], [edge[:-1]], [edge[1:]]
    for length in range(SHORTEST, LONGEST + 1):
        last = np.arange(length - 1, len(starts) - 1)
        last = last[word_at[last - length + 1] == word_at[last]]
        word.append(word_at[last])
        start.append(starts[last - length + 1])
        stop.append(starts[last + 1])
    of_word, begin, end = np.concatenate(word), np.concatenate(start), np.concatenate(stop)
    bucket = buckets_of(fnv1a_of(byte, begin, end - begin), num_buckets)
    order = np.argsort(of_word, kind="stable")
    return np.searchsorted(of_word[order], np.arange(len(words) + 1)), bucket[order]


def _runs(start: Int64[np.ndarray, " n"], count: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " V"]:
    """start[i], start[i] + 1, … count[i] of each, one after the other."""
    before = np.cumsum(count) - count
    runs: np.ndarray = np.arange(int(count.sum())) + np.repeat(start - before, count)
    return runs
