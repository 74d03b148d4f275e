"""A text → its words, spelled alike however they were written: for search and for what the towers learn."""

import re
import unicodedata

_ACCENTS = re.compile("[\u0300-\u036f]")
_APOSTROPHES = re.compile("['’ʼ`´]")
_ASCII_WORD = re.compile("[a-z0-9_]+")


def words_of(text: str) -> list[str]:
    """The words of a text in order: case folded, accents stripped, apostrophes closed up.

    Only the combining accents U+0300 to U+036F are stripped; the vowel signs of other scripts are spelling.
    """
    closed = _APOSTROPHES.sub("", text)
    if closed.isascii():  # the same, ten times as fast
        return _ASCII_WORD.findall(closed.lower())
    decomposed = unicodedata.normalize("NFKD", closed.casefold())
    composed = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed))
    # A mark (category M) belongs to its word, but \w does not take it.
    return "".join(c if c == "_" or _of_a_word(c) else " " for c in composed).split()


def _of_a_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")
