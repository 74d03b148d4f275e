"""A title → all the ways it is written when it is searched for; a text → the ways it is looked up.

Spellings are compared *closed up*: the words of `towers.data.words` without the blanks between them, so that
"starwars" and "Star Wars" are one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from towers.data.words import words_of


def listed(text: str) -> tuple[str, ...]:
    """The words of a table that is written as one text."""
    return tuple(text.split())


ARTICLES = frozenset(listed("the a an le la les l un une el los las una il lo gli der das ein eine de het"))
"""First words that people leave out. No German "die": in English it is a word of its own."""

_BEHIND = re.compile(rf",\s*({'|'.join(sorted(ARTICLES))})['’]?\s*$", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_ALSO_KNOWN = re.compile(r"^\s*(a\.?k\.?a\.?|also known as)\s+", re.IGNORECASE)
_IN_PARTS = re.compile(r"[()\[\],:/–—-]|^\s*(a\.?k|also)", re.IGNORECASE)
"""What a title has, at the least, that is more than one name or has more than its own spellings."""
_BETWEEN_PARTS = re.compile(r":|\s[-–—/]\s")
_NUMBERED = frozenset(listed("part episode chapter volume vol season series book no number"))
_FIRST_TWENTY = listed(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_ROMAN = listed("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx")
_WRITTEN = {
    written: (str(number), roman, name)
    for number, (roman, name) in enumerate(zip(_ROMAN, _FIRST_TWENTY, strict=True), 1)
    for written in (str(number), roman, name)
}
"""A number from 1 to 20 as it may be written → all three ways."""
_NUMBERS = frozenset(_WRITTEN)


@dataclass(frozen=True, slots=True)
class Spelling:
    """Words that a title is known by. whole: of all of it, not only of what is before or after a colon."""

    words: tuple[str, ...]
    whole: bool


def spellings(title: str) -> list[Spelling]:
    """The spellings of a title, none twice, whole ones first; none where it has no words.

    As it is; without what stands in brackets, and that alone, as it is another name; with its leading article
    and without; "&" as "and" and left out; numbers up to twenty in digits, Roman and in words; and the parts
    that a colon or a dash divides it into, those aside that only number it ("Part II").
    """
    if not _IN_PARTS.search(title):  # as most are: a quarter of the work, and the same
        return [Spelling(words, True) for words in _written(title.strip())]
    named = [title, _IN_BRACKETS.sub(" ", title), *_IN_BRACKETS.findall(title)]
    names = dict.fromkeys(_article_first(_ALSO_KNOWN.sub("", name)) for name in named)
    whole = dict.fromkeys(words for name in names for words in _written(name))
    pieces = [piece for name in names for piece in _BETWEEN_PARTS.split(name)]
    parts = dict.fromkeys(words for piece in pieces if piece not in names for words in _written(piece))
    return [Spelling(words, True) for words in whole] + [
        Spelling(words, False)
        for words in parts
        if words not in whole and words[0] not in _NUMBERED and len(close_up(words)) > 2
    ]


def asked_spellings(text: str) -> list[tuple[str, ...]]:
    """The words of a text that is searched for, and those without its article, in front or behind a comma."""
    words = tuple(words_of(text))
    moved = tuple(words_of(_article_first(text)))
    both = [words, *([moved] if moved != words else [])]
    return [one for one in dict.fromkeys([*both, *map(_bare, both)]) if one]


def close_up(words: Sequence[str]) -> str:
    """The words without blanks between them."""
    return "".join(words)


def _written(name: str) -> list[tuple[str, ...]]:
    """The ways to write one name; none where it has no words."""
    words = tuple(words_of(name))
    if not words:
        return []
    forms = [words]
    if "&" in name:
        forms.append(tuple(words_of(name.replace("&", " and "))))
    for form in list(forms):
        forms += _numbers_written(form)
    return list(dict.fromkeys([*forms, *map(_bare, forms)]))


def _numbers_written(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The words with their numbers in digits, Roman and in words, where one is no letter by itself."""
    if _NUMBERS.isdisjoint(words):
        return []
    counts = [
        word in _WRITTEN and (len(word) > 1 or word.isdigit() or (place > 0 and _is_number(words, place)))
        for place, word in enumerate(words)
    ]
    if not any(counts):
        return []
    return [
        tuple(_WRITTEN[word][way] if count else word for word, count in zip(words, counts, strict=True))
        for way in range(3)
    ]


def _is_number(words: tuple[str, ...], place: int) -> bool:
    """Whether I, V or X is a numeral here: after "part" and its like, or V and X as the last word."""
    return words[place - 1] in _NUMBERED or (words[place] != "i" and place == len(words) - 1)


def _article_first(name: str) -> str:
    """The name with the article in front that stands behind a comma: "Matrix, The"."""
    found = _BEHIND.search(name)
    return f"{found[1]} {name[: found.start()]}" if found else name.strip()


def _bare(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words without a leading article, where others are left."""
    return words[1:] if len(words) > 1 and words[0] in ARTICLES else words
