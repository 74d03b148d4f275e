"""Search texts that profiles typed before they watched something."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from towers.data.simulator.catalogue import DECADES, Catalogue, decade_row
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.words import GENRES

_KIND_SHARES = np.array([0.35, 0.2, 0.2, 0.15, 0.1])  # in the order of _text
_PLAYED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Searches:
    """n searches, one entry each.

    event: int64, the watch that came after; lead_ms: int64, how long after; text: what was typed.
    item_row: int64, what was played, -1 where nothing was.
    """

    event: Int64[np.ndarray, " n"]
    text: tuple[str, ...]
    item_row: Int64[np.ndarray, " n"]
    lead_ms: Int64[np.ndarray, " n"]


def draw_searches(
    rng: np.random.Generator, catalogue: Catalogue, item_row: Int64[np.ndarray, " E"], share: float
) -> Searches:
    """Searches before a share of the events: by title, part of it, person, sub-genre, or genre and era."""
    event = np.flatnonzero(rng.random(len(item_row)) < share)
    item = item_row[event]
    kind = rng.choice(len(_KIND_SHARES), len(event), p=_KIND_SHARES)
    billing = rng.random(len(event))
    text = tuple(
        _text(catalogue, int(row), int(how), where)
        for row, how, where in zip(item, kind, billing.tolist(), strict=True)
    )
    played = rng.random(len(event)) < _PLAYED_SHARE
    lead_ms = rng.integers(20_000, 200_000, len(event))
    return Searches(event, text, np.where(played, item, -1), lead_ms)


def _text(catalogue: Catalogue, row: int, kind: int, where: float) -> str:
    title = catalogue.titles[row].lower()
    sub_genre = int(catalogue.sub_genre[row])
    match kind:
        case 0:
            return title
        case 1:
            words = title.removeprefix("the ").split()
            return " ".join(words[: 1 + int(where * len(words))])
        case 2:
            cast = catalogue.cast[row][catalogue.cast[row] >= 0]
            return catalogue.people[int(cast[int(where * len(cast))])].lower()
        case 3:
            return SUB_GENRES[sub_genre].lower()
        case _:
            decade = DECADES[int(decade_row(catalogue.year[row : row + 1])[0])]
            return f"{decade}s {GENRES[GENRE_OF[sub_genre]].name.lower()}"
