"""Texts that people ask by → the packed words and n-grams that the query tower reads."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from towers.data.histories import runs
from towers.data.ngrams import split_words, word_buckets
from towers.data.words import words_of


@dataclass(frozen=True, slots=True)
class AskedTexts:
    """Q texts as words, and words as hashed n-grams, packed: no padding.

    word_offset: int64 (Q+1,), text q has the words word_offset[q]:word_offset[q + 1]. gram_offset: int64
    (W+1,), word w has bucket[gram_offset[w]:gram_offset[w + 1]], itself among them. bucket: int64 (G,).
    """

    word_offset: Int64[np.ndarray, " Q1"]
    gram_offset: Int64[np.ndarray, " W1"]
    bucket: Int64[np.ndarray, " G"]

    def __len__(self) -> int:
        return len(self.word_offset) - 1

    def select(self, texts: Int64[np.ndarray, " n"]) -> "AskedTexts":
        """The texts given, in that order; one may be named more than once."""
        num_words = np.diff(self.word_offset)[texts]
        word = runs(self.word_offset[texts], num_words)
        num_grams = np.diff(self.gram_offset)[word]
        return AskedTexts(
            _offsets(num_words), _offsets(num_grams), self.bucket[runs(self.gram_offset[word], num_grams)]
        )


def encode_texts(texts: list[str], num_buckets: int, max_words: int) -> AskedTexts:
    """The first `max_words` words of each text, of any language, and their n-grams (`word_buckets`)."""
    parent, words = split_words(pa.array(texts, pa.large_string()), max_words)
    coded = words.dictionary_encode()  # each distinct word is cut up once
    start, bucket = word_buckets(coded.dictionary, num_buckets)
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    num_grams = np.diff(start)[code]
    return AskedTexts(
        np.searchsorted(parent, np.arange(len(texts) + 1)),
        _offsets(num_grams),
        bucket[runs(start[code], num_grams)],
    )


def plain_texts(texts: list[str], max_words: int) -> list[str]:
    """The same words of each text, a blank between two: how a backbone reads it, in training and serving."""
    return [" ".join(words_of(text)[:max_words]) for text in texts]


def _offsets(lengths: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n1"]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
