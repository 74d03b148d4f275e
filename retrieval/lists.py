"""Answers made beforehand: a rung's rankings for every profile, country and title, looked up by history."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int, Int32, Int64
from safetensors import SafetensorError
from safetensors.numpy import load, save

from retrieval.completion import unseen
from retrieval.index.allowed import Allowed
from retrieval.profiles import ProfileHistories
from towers.data.histories import Histories
from towers.errors import ReleaseError
from towers.recommender import PAD, Degraded, Queries, Rankings, check_history, check_k

LISTS_FILE = "lists.safetensors"
_TYPES = {
    "item_row": (np.dtype(np.int32), 2),
    "score": (np.dtype(np.float32), 2),
    "num_events": (np.dtype(np.int64), 1),
}

# A history that no list was made for is answered from the lists of its newest titles, fused by reciprocal
# rank: Σ exp(−recency · age) / (damping + rank).
_NUM_TITLES = 20
_RECENCY = 0.3
_DAMPING = 10.0
# Between two items that no list holds, relative to the least score.
_STEP = np.float32(2**-20)


@dataclass(frozen=True, slots=True)
class RankedLists:
    """The rankings of P profiles, of C countries to a newcomer, and of N titles as the only one watched.

    item_row: int32 (P + C + N, L), best first, PAD behind; a title's without the end that a newcomer's list
    has too. score: float32, the rung's own, never rising.
    num_events: int64 (N,), train events of each title.
    """

    item_row: Int32[np.ndarray, "M L"]
    score: Float32[np.ndarray, "M L"]
    num_events: Int64[np.ndarray, " N"]

    def save(self, folder: Path) -> None:
        """Writes LISTS_FILE into a folder that exists."""
        (folder / LISTS_FILE).write_bytes(save({name: getattr(self, name) for name in _TYPES}))


def load_lists(folder: Path) -> RankedLists:
    """What `RankedLists.save` wrote; ReleaseError where it is another thing."""
    path = folder / LISTS_FILE
    try:
        arrays = load(path.read_bytes())
        found = {name: (arrays[name].dtype, arrays[name].ndim) for name in _TYPES}
    except (SafetensorError, KeyError, FileNotFoundError) as error:
        raise ReleaseError(f"{path}: {error!r}; expected ranked lists in a safetensors file") from error
    if found != _TYPES or arrays["item_row"].shape != arrays["score"].shape:
        shapes = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
        raise ReleaseError(
            f"{path}: holds {shapes}; expected item_row int32 and score float32 of one shape (lists, "
            "places), num_events int64 (titles)"
        )
    return RankedLists(**arrays)


def countries_of(country: np.ndarray) -> np.ndarray:
    """The countries that have a list of their own: those of profiles, and "" for all others."""
    return np.unique(np.append(country, ""))


class ListAnswers:
    """A Recommender that looks its answers up. Safe for any number of concurrent readers.

    A query with the history, country and features of a profile gets that profile's list, as the rung gave
    it. One with another history gets the fused lists of its newest titles, tagged NOT_PRECOMPUTED, and one
    without any history the list of its country. What it watched is left out; behind a list follows that of a
    newcomer to the country, and then all others by popularity, so that no answer is short. Raises
    ReleaseError where the lists are not those of the profiles, countries and items.
    """

    def __init__(self, lists: RankedLists, profiles: ProfileHistories) -> None:
        self._lists = lists
        self._profiles = profiles
        self._country = {str(name): row for row, name in enumerate(countries_of(profiles.country))}
        self._by_popularity = np.argsort(-lists.num_events, kind="stable")
        self._first_country = len(profiles.history)
        self._first_title = self._first_country + len(self._country)
        expected = self._first_title + self.num_items
        least, most = (int(end(lists.item_row, initial=PAD)) for end in (np.min, np.max))
        if len(lists.item_row) != expected or least < PAD or most >= self.num_items:
            raise ReleaseError(
                f"{LISTS_FILE}: {len(lists.item_row)} lists of item rows from {least} to {most}; expected "
                f"{expected} for {len(profiles.history)} profiles, {len(self._country)} countries and "
                f"{self.num_items} items"
            )
        key = _keys(profiles.history, profiles.country, profiles.features)
        self._order = np.argsort(key, kind="stable")
        self._key = key[self._order]

    @property
    def num_items(self) -> int:
        """N."""
        return len(self._by_popularity)

    def rank(self, queries: Queries, k: int, allowed: Allowed, recall: float | None = None) -> Rankings:
        """The best k items per query that it is allowed; recall changes nothing: lists were made whole."""
        check_k(k)
        check_history(queries.history, self.num_items)
        item_row = np.full((len(queries), k), PAD, dtype=np.int64)
        score = np.full((len(queries), k), -np.inf, dtype=np.float32)
        profile = self._profiles_of(queries)
        made = (profile != PAD) | (queries.history.lengths == 0)
        for line in range(len(queries)):
            watched = queries.history.items_of(line)
            newcomer = self._newcomer(str(queries.country[line]))
            listed = newcomer if len(watched) == 0 else self._fused(watched)
            if profile[line] != PAD:
                listed = self._list(int(profile[line]))
            filled = self._filled(*listed, allowed.mask(line, self.num_items), newcomer[0], k)
            item_row[line, : len(filled[0])], score[line, : len(filled[0])] = filled
        degraded = tuple(None if one else Degraded.NOT_PRECOMPUTED for one in made.tolist())
        return Rankings(item_row, score, () if made.all() else degraded)

    def similar(self, row: int, k: int, allowed: Allowed) -> Rankings:
        """What the rung answers to one who watched this item alone, of what is allowed: one line."""
        listed = self._list(self._first_title + row)
        found, score = self._filled(*listed, allowed.mask(0, self.num_items), self._newcomer("")[0], k)
        padding = (0, k - len(found))
        return Rankings(
            np.pad(found, padding, constant_values=PAD)[None],
            np.pad(score, padding, constant_values=-np.inf)[None],
        )

    def liking(self, query: Queries, rows: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        """How high each of these items stands in the answer to one query; those it watched stand last."""
        ranked = self.rank(query, self.num_items, unseen(query.history)).item_row[0]
        place = np.full(self.num_items, self.num_items, np.float32)
        place[ranked[ranked != PAD]] = np.arange(int((ranked != PAD).sum()))
        liked: np.ndarray = -place[rows]
        return liked

    def scores(self, queries: Queries, row: int) -> Float32[np.ndarray, " Q"]:
        """The score of one item in the fused lists of each query's newest titles; 0 where none has it.

        Also where a list of the whole history was made: how that came about, lists do not say.
        """
        score = np.zeros(len(queries), np.float32)
        for line in range(len(queries)):
            watched = queries.history.items_of(line)
            if len(watched):
                item, fused = self._fused(watched)
                score[line] = fused[item == row].sum()
        return score

    def _profiles_of(self, queries: Queries) -> Int64[np.ndarray, " Q"]:
        """The profile whose list answers each query, PAD where there is none."""
        history, stored = queries.history, self._profiles.history
        asked = _keys(history, queries.country, self._features(queries.profiles))
        place = np.searchsorted(self._key, asked)
        profile = np.full(len(queries), PAD)
        for line in np.flatnonzero((place < len(self._key)) & (history.lengths > 0)).tolist():
            found = int(self._order[place[line]])
            # The key is a hash: only an equal history is one.
            if self._key[place[line]] == asked[line] and np.array_equal(
                history.items_of(line), stored.items_of(found)
            ):
                profile[line] = found
        return profile

    def _features(self, known: pa.Table | None) -> pa.Table | None:
        """Of what is known of who asks, that which the lists depend on."""
        stored = self._profiles.features
        if stored is None or known is None:
            return None
        return known.select([name for name in stored.column_names if name in known.column_names])

    def _newcomer(self, country: str) -> tuple[np.ndarray, np.ndarray]:
        return self._list(self._first_country + self._country.get(country, self._country[""]))

    def _fused(self, watched: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """The lists of the newest titles as one."""
        newest = watched[::-1][:_NUM_TITLES]
        lists = self._lists.item_row[self._first_title + newest].astype(np.int64)
        weight = np.exp(-_RECENCY * np.arange(len(newest)))[:, None]
        share = weight / (_DAMPING + np.arange(1, lists.shape[1] + 1))
        item, place = np.unique(lists, return_inverse=True)
        fused = np.bincount(place.reshape(-1), weights=share.reshape(-1))
        item, fused = item[item != PAD], fused[item != PAD]
        best = np.lexsort((item, -fused))
        return item[best], fused[best].astype(np.float32)

    def _list(self, line: int) -> tuple[np.ndarray, np.ndarray]:
        row = self._lists.item_row[line].astype(np.int64)
        return row[row != PAD], self._lists.score[line][row != PAD]

    def _filled(
        self, listed: np.ndarray, score: np.ndarray, allowed: np.ndarray, newcomer: np.ndarray, k: int
    ) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """The first k allowed items of a list; then those of a newcomer's, then the most popular."""
        shown = allowed[listed]
        listed, score = listed[shown][:k], score[shown][:k]
        if len(listed) == k:
            return listed, score
        rest = np.concatenate([newcomer, self._by_popularity])
        rest = rest[allowed[rest] & ~np.isin(rest, listed)]
        rest = rest[np.sort(np.unique(rest, return_index=True)[1])][: k - len(listed)]
        least = min(np.float32(0), score[-1]) if len(score) else np.float32(0)
        below = least - max(np.float32(1), abs(least)) * _STEP * np.arange(1, len(rest) + 1, dtype=np.float32)
        return np.concatenate([listed, rest]), np.concatenate([score, below]).astype(np.float32)


def _keys(history: Histories, country: np.ndarray, features: pa.Table | None) -> np.ndarray:
    """uint64 (P,): a hash of each history by item, its country and what else is known of the profile."""
    known = [""] * len(history) if features is None else [repr(row) for row in features.to_pylist()]
    key = np.empty(len(history), np.uint64)
    for line in range(len(history)):
        text = f"{country[line]}\0{known[line]}\0".encode()
        content = text + history.items_of(line).astype(np.int64).tobytes()
        key[line] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    return key


def sound(lists: RankedLists) -> Bool[np.ndarray, " M"]:
    """Which lists are sound: no item twice, no padding before an item, scores finite and never rising."""
    filled = lists.item_row != PAD
    # Padding is told apart by place, so that it is never taken for an item that stands twice.
    ordered = np.sort(np.where(filled, lists.item_row, -1 - np.arange(lists.item_row.shape[1])), axis=1)
    once = (np.diff(ordered, axis=1) != 0).all(axis=1)
    packed = ~(filled[:, 1:] & ~filled[:, :-1]).any(axis=1)
    finite = (np.isfinite(lists.score) | ~filled).all(axis=1)
    falling = (~filled[:, 1:] | (lists.score[:, 1:] <= lists.score[:, :-1])).all(axis=1)
    every: np.ndarray = once & packed & finite & falling
    return every
