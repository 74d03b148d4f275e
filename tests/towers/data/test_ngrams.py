import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.data.test_hashing import one_bucket
from towers.data import ngrams
from towers.data.ngrams import ngram_buckets, split_words
from towers.data.words import words_of

relaxed = settings(deadline=None, max_examples=100)
BUCKETS = 1 << 20


def column(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


def grams_of(text: str | None, first: int = 0) -> set[str]:
    """Every run of 3 to 5 characters of each marked word, and the word itself, one at a time."""
    grams = set()
    for word in words_of(text or "")[: first or None]:
        marked = f"<{word}>"
        grams.add(marked)
        for length in (3, 4, 5):
            grams |= {marked[place : place + length] for place in range(len(marked) - length + 1)}
    return grams


def buckets_of_each(texts: pa.Array, num_buckets: int = BUCKETS, first: int = 0) -> list[list[int]]:
    offset, bucket = ngram_buckets(texts, num_buckets, first)
    return [bucket[offset[row] : offset[row + 1]].tolist() for row in range(len(texts))]


@pytest.mark.parametrize(
    ("text", "grams"),
    [
        ("Up", "<up> <up up>"),
        ("É", "<e>"),
        ("Amélie!", "<amelie> <am ame mel eli lie ie> <ame amel meli elie lie> <amel ameli melie elie>"),
        ("WALL·E", "<wall> <wa wal all ll> <wal wall all> <wall wall> <e>"),
        ("🎬 Up 🎬", "<up> <up up>"),
        ("🎬", ""),
        ("ﬁn", "<fin> <fi fin in> <fin fin>"),
        ("לב", "<לב> <לב לב>"),  # written right to left, stored in reading order
        ("王様の", "<王様の> <王様 王様の 様の> <王様の 王様の>"),
        ("सी", "<सी> <सी सी>"),  # a vowel sign is a character of its word
        ("Don't", "<dont> <do don ont nt> <don dont ont> <dont dont>"),
        (" \t", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_ngrams_of_short_titles_are_those_written_down(text: str | None, grams: str) -> None:
    expected = sorted({one_bucket(gram, BUCKETS) for gram in grams.split()})
    assert buckets_of_each(column(text)) == [expected]


@relaxed
@given(
    st.lists(st.text(max_size=20) | st.text("ab é'_ß\u0301王", max_size=12) | st.none(), max_size=12),
    st.sampled_from([7, BUCKETS]),
    st.integers(0, 3),
)
def test_many_texts_have_the_buckets_that_each_has_alone(
    texts: list[str | None], num_buckets: int, first: int
) -> None:
    expected = [sorted({one_bucket(gram, num_buckets) for gram in grams_of(text, first)}) for text in texts]
    assert buckets_of_each(column(*texts), num_buckets, first) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_ENTRIES_AT_ONCE", 10)
        assert buckets_of_each(column(*texts), num_buckets, first) == expected


@relaxed
@given(st.lists(st.text(max_size=20) | st.none(), max_size=8), st.integers(0, 2))
def test_the_words_are_those_of_search(texts: list[str | None], skipped: int) -> None:
    row, words = split_words(column(*texts).slice(skipped))
    expected = [(place, word) for place, text in enumerate(texts[skipped:]) for word in words_of(text or "")]
    assert list(zip(row.tolist(), words.to_pylist(), strict=True)) == expected


def test_plain_ascii_is_split_as_any_other_text_is() -> None:
    text = "".join(map(chr, range(1, 128)))
    assert split_words(column(text))[1].to_pylist() == words_of(text)


def test_spellings_of_one_title_have_the_same_buckets_and_an_inflection_most_of_them() -> None:
    same = buckets_of_each(column("Les Misérables", "LES MISÉRABLES", "les mise\u0301rables"))
    assert same[0] == same[1] == same[2]
    walked, walker, other = map(set, buckets_of_each(column("dreamwalking", "dreamwalkers", "parliament")))
    assert len(walked & walker) > 0.4 * len(walked)
    assert len(walked & other) == 0


def test_a_very_long_text_and_a_very_long_word_are_texts_like_others() -> None:
    long = "abcdefgh" * 500
    texts = column(long, "x", " ".join(f"w{number}" for number in range(3000)))
    found = buckets_of_each(texts)
    for text, buckets in zip(texts.to_pylist(), found, strict=True):
        assert buckets == sorted({one_bucket(gram, BUCKETS) for gram in grams_of(text)})
