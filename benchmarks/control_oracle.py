"""Random decisions of viewers, and what they forbid, told from the raw rows of the titles in plain Python."""

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from retrieval.control.controls import Controls
from retrieval.control.view import LESS_LIKE
from retrieval.eligibility import certificates
from retrieval.eligibility.rules import KIDS_AGE

_AGES = (0, 7, 12, 13, 16, 18)
# By so much a likeness may differ from that of the index, and none says which of the two is nearer.
_TIE = 1e-5


@dataclass(frozen=True, slots=True)
class Title:
    """A title as its row says it, names in lower case; age None where its certificate says none."""

    item_id: str
    genres: frozenset[str]
    people: frozenset[str]
    age: int | None


class Oracle:
    """What controls forbid over one catalogue; knows nothing of rules, bitmaps or indexes.

    items: the items table as ingested. vectors: float32 (N, D), by which titles are like each other.
    """

    def __init__(self, items: pa.Table, vectors: np.ndarray) -> None:
        ages = _ages()
        self.titles = [_title(row, ages) for row in items.to_pylist()]
        self.ids = [title.item_id for title in self.titles]
        self._row = {item_id: row for row, item_id in enumerate(self.ids)}
        self._vectors = vectors.astype(np.float64)
        self._near: dict[str, frozenset[str]] = {}

    def forbidden(self, controls: Controls) -> frozenset[str]:
        """The ids of all titles that these controls keep from being shown."""
        limit = controls.max_age
        if controls.kids and limit is None:
            limit = KIDS_AGE
        genres = {name.lower() for name in controls.excluded_genres}
        people = {name.lower() for name in controls.excluded_people}
        found = {*controls.excluded_items, *controls.less_like}
        for item_id in controls.less_like:
            found |= self._like(item_id)
        for title in self.titles:
            too_old = limit is not None and (title.age is None or title.age > limit)
            if too_old or not genres.isdisjoint(title.genres) or not people.isdisjoint(title.people):
                found.add(title.item_id)
        return frozenset(found)

    def _like(self, item_id: str) -> frozenset[str]:
        """The titles that are surely among those most like one: ties at the end are not told."""
        if item_id not in self._near:
            likeness = self._vectors @ self._vectors[self._row[item_id]]
            likeness[self._row[item_id]] = -np.inf
            num = min(LESS_LIKE, len(self.ids) // 10)
            last = np.sort(likeness)[-num]
            near = np.flatnonzero(likeness > last + _TIE)
            self._near[item_id] = frozenset(self.ids[row] for row in near.tolist())
        return self._near[item_id]


class Viewers:
    """Draws controls over the names of a catalogue."""

    def __init__(self, oracle: Oracle, seed: int) -> None:
        self._random = random.Random(seed)
        self._ids = oracle.ids
        self._genres = sorted({name for title in oracle.titles for name in title.genres})
        self._people = sorted({name for title in oracle.titles for name in title.people})

    def draw(self, watched: Sequence[str] = ()) -> Controls:
        """Controls of which each part is decided or not by chance; watched: of whom they may be."""
        rng = self._random
        near = [*watched, *rng.sample(self._ids, 3)]
        return Controls(
            excluded_genres=self._some(self._genres, 3),
            excluded_people=self._some(self._people, 3),
            excluded_items=self._some(self._ids, 20),
            less_like=self._some(near, 2),
            removed=self._some(near, 5),
            personalised=rng.random() > 0.15,
            max_age=rng.choice(_AGES) if rng.random() < 0.3 else None,
            kids=rng.random() < 0.15,
        )

    def _some(self, names: Sequence[str], most: int) -> tuple[str, ...]:
        rng = self._random
        if rng.random() < 0.5:
            return ()
        return tuple(
            rng.choice((str, str.upper))(one) if " " in one else one for one in self._drawn(names, most)
        )

    def _drawn(self, names: Sequence[str], most: int) -> list[str]:
        return self._random.sample(names, min(len(names), self._random.randint(1, most)))


def _title(row: Mapping[str, Any], ages: Mapping[str, int]) -> Title:
    names = {
        side: frozenset(one.lower() for column in columns for one in row[column] or ())
        for side, columns in (("genres", ("genres", "sub_genres")), ("people", ("cast", "directors")))
    }
    certificate = "".join((row["maturity"] or "").lower().split())
    number = certificate.removesuffix("+")
    age = int(number) if number.isdigit() and int(number) <= 21 else ages.get(certificate)
    return Title(row["item_id"], names["genres"], names["people"], age)


def _ages() -> dict[str, int]:
    """The strictest age of each certificate of the table, in lower case and without blanks."""
    ages: dict[str, int] = {}
    with Path(certificates.__file__).with_name("certificates.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            spelled = "".join(line["certificate"].lower().split())
            ages[spelled] = max(int(line["age"]), ages.get(spelled, 0))
    return ages
