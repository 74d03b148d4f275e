"""Claim `typos`: mistyped titles of ml-latest-small are found; people, genres and years; BM25 beside.

Every title of at least four letters is asked for once, by its main name, after one or two slips of the
finger, as many of each. A slip inserts, deletes, replaces or swaps at any place (`towers.evaluation.slips`).
A search succeeds where a title of the name that was meant stands in its top k: which of two films of one name
is meant, no text without a year says.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks.measurement import Measurement
from benchmarks.search_data import Searched, bm25_answers, main_name, movielens, same_name
from towers.data.words import words_of
from towers.evaluation.bootstrap import mean_intervals
from towers.evaluation.search import search_metrics
from towers.evaluation.slips import Slip, mistyped

SEED = 0
MIN_LETTERS = 4
MOST_SLIPS, NUM_PER_POINT = 4, 1000
"""The curve: up to so many slips, each point over so many titles."""
NUM_OTHERS = 1000
"""Searches for a person, and for a genre and a year."""


def measure() -> Measurement:
    """success@1 and @10 over all titles, with one and two slips."""
    world = movielens()
    titles = _Titles(world)
    rng = np.random.default_rng(SEED)
    num_slips = rng.permutation(np.arange(len(titles.row)) % 2 + 1)
    texts = [mistyped(name, int(n), rng) for name, n in zip(titles.name, num_slips, strict=True)]
    ours = search_metrics(world.answers(texts), titles.targets)
    bm25 = search_metrics(bm25_answers(world.items, texts), titles.targets)
    letters = np.array([sum(map(str.isalpha, name)) for name in titles.name])
    slices = {
        "1 slip": num_slips == 1,
        "2 slips": num_slips == 2,
        "4 to 6 letters": letters <= 6,
        "7 to 12 letters": (letters > 6) & (letters <= 12),
        "13 letters and more": letters > 12,
    }
    return Measurement(
        figures={key: round(float(ours[name].mean()), 4) for key, name in _FIGURES.items()},
        data=f"{len(texts):,} titles of ml-latest-small, people of TMDB and DBpedia, one or two slips each",
        seeds=(SEED,),
        details={
            "ours": _with_intervals(ours),
            "BM25": _with_intervals(bm25),
            "by slice, ours and BM25": {
                name: {"num": int(part.sum())} | _pair(ours, bm25, part) for name, part in slices.items()
            },
            "curve, ours and BM25": _curve(world, titles),
            "people": _compared(world, *_people(world)),
            "genre and year": _compared(world, *_genres_and_years(world)),
        },
    )


_FIGURES = {"success_1": "success@1", "success_10": "success@10"}


class _Titles:
    """The titles that are asked for: their rows, main names, and the rows of the same name."""

    def __init__(self, world: Searched) -> None:
        titles = world.items["title"].to_pylist()
        of_name: dict[str, list[int]] = defaultdict(list)
        for row, title in enumerate(titles):
            of_name[same_name(title)].append(row)
        asked = [(row, main_name(title)) for row, title in enumerate(titles)]
        asked = [(row, name) for row, name in asked if sum(map(str.isalpha, name)) >= MIN_LETTERS]
        self.row = [row for row, _ in asked]
        self.name = [name for _, name in asked]
        self.targets = [of_name[same_name(titles[row])] for row in self.row]

    def sample(self, num: int, rng: np.random.Generator) -> tuple[list[str], list[list[int]]]:
        """Names and targets of so many titles."""
        places = rng.permutation(len(self.row))[:num].tolist()
        return [self.name[place] for place in places], [self.targets[place] for place in places]


def _curve(world: Searched, titles: _Titles) -> dict[str, object]:
    """Success by the number and kind of slips, and without blanks and accents."""
    rng = np.random.default_rng(SEED + 1)
    names, targets = titles.sample(NUM_PER_POINT, rng)
    points = {
        f"{number} slips": [mistyped(name, number, rng) for name in names] for number in range(MOST_SLIPS + 1)
    }
    points |= {f"1 {kind}": [mistyped(name, 1, rng, [kind]) for name in names] for kind in Slip}
    points["no blanks"] = ["".join(name.split()) for name in names]
    curve: dict[str, object] = {
        point: _pair(*_metrics(world, texts, targets)) for point, texts in points.items()
    }
    accented = [place for place, name in enumerate(titles.name) if not name.isascii()]
    texts = [" ".join(words_of(titles.name[place])) for place in accented]
    found = _metrics(world, texts, [titles.targets[place] for place in accented])
    curve[f"no accents ({len(accented)} titles that have some)"] = _pair(*found)
    return curve


def _people(world: Searched) -> tuple[list[str], list[list[int]]]:
    """Full names of people, and their titles."""
    titles_of: dict[str, set[int]] = defaultdict(set)
    for column in ("cast", "directors"):
        for row, names in enumerate(world.items[column].to_pylist()):
            for name in names or ():
                if " " in name:
                    titles_of[name].add(row)
    return _drawn(titles_of)


def _genres_and_years(world: Searched) -> tuple[list[str], list[list[int]]]:
    """A genre and a year, as in "comedy 1994", and the titles of both."""
    titles_of: dict[str, set[int]] = defaultdict(set)
    columns = (world.items[name].to_pylist() for name in ("genres", "release_year"))
    for row, (genres, year) in enumerate(zip(*columns, strict=True)):
        for genre in genres or ():
            if year is not None:
                titles_of[f"{genre.lower()} {year}"].add(row)
    return _drawn(titles_of)


def _drawn(titles_of: dict[str, set[int]]) -> tuple[list[str], list[list[int]]]:
    rng = np.random.default_rng(SEED + 2)
    texts = [sorted(titles_of)[place] for place in rng.permutation(len(titles_of))[:NUM_OTHERS].tolist()]
    return texts, [sorted(titles_of[text]) for text in texts]


def _metrics(
    world: Searched, texts: Sequence[str], targets: Sequence[Sequence[int]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of our answers, and of BM25's."""
    ours = search_metrics(world.answers(texts), targets)
    return ours, search_metrics(bm25_answers(world.items, texts), targets)


def _compared(world: Searched, texts: list[str], targets: list[list[int]]) -> dict[str, object]:
    ours, bm25 = _metrics(world, texts, targets)
    return {"num": len(texts), "ours": _with_intervals(ours), "BM25": _with_intervals(bm25)}


def _with_intervals(values: dict[str, np.ndarray]) -> dict[str, object]:
    """Means and their 95 % intervals."""
    return {
        name: None if one is None else [round(value, 4) for value in (one.mean, one.low, one.high)]
        for name, one in mean_intervals(values).items()
    }


def _pair(
    ours: dict[str, np.ndarray], bm25: dict[str, np.ndarray], part: np.ndarray | None = None
) -> dict[str, object]:
    """success@1 and @10 of both, over a part of the searches."""
    kept = slice(None) if part is None else part
    return {
        name: [round(float(values[name][kept].mean()), 4) for values in (ours, bm25)]
        for name in _FIGURES.values()
    }
