"""Texts as fingers mistype them: letters left out, doubled up, swapped, or beside the one that was meant."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

_ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
_AT = {
    key: (row, indent + place) for row, (keys, indent) in enumerate(_ROWS) for place, key in enumerate(keys)
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BESIDE = {
    key: "".join(
        other
        for other, (row, place) in _AT.items()
        if other != key and abs(row - _AT[key][0]) <= 1 and abs(place - _AT[key][1]) <= 1
    )
    for key in _AT
}
"""The keys beside each on an English keyboard."""


class Slip(StrEnum):
    """One slip of the finger."""

    INSERT = "insert"
    """A key beside the one meant is hit too."""
    DELETE = "delete"
    REPLACE = "replace"
    """A key beside the one meant is hit instead."""
    SWAP = "swap"
    """A character and the next come in the other order."""


def mistyped(text: str, num_slips: int, rng: np.random.Generator, kinds: Sequence[Slip] = tuple(Slip)) -> str:
    """The text after so many slips, of kinds and at places drawn alike, one after the other.

    Any character may be hit, blanks and the first one too. What has no neighbour on the keyboard is taken for
    any letter. A slip that changes nothing, or leaves nothing, is drawn anew; a text of fewer than two
    characters, or all alike, is given back as it is.
    """
    if len(set(text)) < 2:
        return text
    for _ in range(num_slips):
        changed = text
        while changed == text or not changed.strip():
            changed = _slipped(text, kinds[int(rng.integers(len(kinds)))], rng)
        text = changed
    return text


def _slipped(text: str, kind: Slip, rng: np.random.Generator) -> str:
    place = int(rng.integers(len(text)))
    before, hit, after = text[:place], text[place], text[place + 1 :]
    beside = _BESIDE.get(hit.lower(), _LETTERS)
    other = beside[int(rng.integers(len(beside)))]
    match kind:
        case Slip.INSERT:
            return before + other + hit + after
        case Slip.DELETE:
            return before + after
        case Slip.REPLACE:
            return before + other + after
        case Slip.SWAP:
            return before + after[:1] + hit + after[1:]
