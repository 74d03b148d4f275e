"""Texts packed as words and n-grams, against what `ngram_buckets` says of each word by itself."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.asked_texts import encode_texts
from towers.data.ngrams import ngram_buckets
from towers.data.words import words_of

BUCKETS = 997


@given(texts=st.lists(st.text(max_size=30), max_size=6), max_words=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_each_word_has_its_own_n_grams(texts: list[str], max_words: int) -> None:
    found = encode_texts(texts, BUCKETS, max_words)
    expected = [words_of(text)[:max_words] for text in texts]
    assert np.diff(found.word_offset).tolist() == [len(words) for words in expected]
    for place, word in enumerate(word for words in expected for word in words):
        own = found.bucket[found.gram_offset[place] : found.gram_offset[place + 1]]
        _, alone = ngram_buckets(pa.array([word], pa.large_string()), BUCKETS)
        assert set(own.tolist()) == set(alone.tolist())


def test_texts_are_selected_in_the_order_given() -> None:
    texts = ["star wars", "", "amélie", "the lord of the rings"]
    found = encode_texts(texts, BUCKETS, 24).select(np.array([3, 1, 0, 3]))
    expected = encode_texts([texts[3], texts[1], texts[0], texts[3]], BUCKETS, 24)
    for name in ("word_offset", "gram_offset", "bucket"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
