"""What the query tower learns from: texts, the title that each is for, and, of some, who asked."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from towers.data.dataset import Dataset, rows_of
from towers.data.split import Split
from towers.data.words import words_of
from towers.recommender import Queries
from towers.training.made_texts import made_texts
from towers.training.query_settings import QueryFitSettings

NOBODY = -1


@dataclass(frozen=True, slots=True)
class Examples:
    """E texts and the row of the title that each is for.

    asker: int64 (E,), the line of `questions` of who asked; NOBODY where that is not known.
    num_logged: so many of them, the first ones, are of the log; the others are made of the catalogue.
    """

    texts: list[str]
    item_row: Int64[np.ndarray, " E"]
    asker: Int64[np.ndarray, " E"]
    questions: Queries
    num_logged: int

    def __len__(self) -> int:
        return len(self.texts)


def examples(
    dataset: Dataset, split: Split, queries: pa.Table, settings: QueryFitSettings, seed: int
) -> Examples:
    """Searches that were logged with a play after them, and texts made of the catalogue.

    queries: `towers.data.schema.QUERIES`. A text that fewer than `min_profiles` searched for is left out.
    Nothing held out is used: of a profile's searches only those before its first held-out event, with a play
    that is train. Half of the texts made, at most `most_asked`, are for what some profile then watched, and
    asked by it; the others for any title, each as often. Who asks knows the history before the moment, and no
    more.
    """
    rng = np.random.default_rng(seed)
    texts, item_row, profile, asked = _logged(dataset, split, queries, settings)
    titles, num_events = dataset.items.num_rows, int(split.num_train.sum())
    num_made = min(settings.texts_per_title * titles, settings.most_texts)
    num_asked = min(num_made // 2, settings.most_asked, num_events)
    first = np.cumsum(split.num_train) - split.num_train
    event = np.sort(rng.choice(num_events, num_asked, replace=False))
    who = np.searchsorted(first, event, side="right") - 1
    at = dataset.history.offset[who] + event - first[who]
    for_event = dataset.history.item_row[at].astype(np.int64)
    # Every title once before any is asked for twice.
    anything = np.concatenate([rng.permutation(titles) for _ in range(-(-(num_made - num_asked) // titles))])
    wanted = np.concatenate([for_event, anything[: num_made - num_asked]])
    made = made_texts(dataset.items, wanted, rng)
    known = profile != NOBODY
    asking = np.concatenate([profile[known], who])
    seconds = np.concatenate([asked[known], dataset.history.time_seconds[at]])
    asker = np.full(len(texts) + num_made, NOBODY)
    asker[: len(texts)][known] = np.arange(known.sum())
    asker[len(texts) : len(texts) + num_asked] = known.sum() + np.arange(num_asked)
    return Examples(
        texts + made,
        np.concatenate([item_row, wanted]),
        asker,
        _questions(dataset, split, asking, seconds),
        len(texts),
    )


def _logged(
    dataset: Dataset, split: Split, queries: pa.Table, settings: QueryFitSettings
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Texts, the rows of what was played after them, the profiles (or NOBODY), and when they asked.

    The newest `most_texts`; texts are those of their words, as the tower reads them.
    """
    item_row = rows_of(queries["item_id"], dataset.items["item_id"])
    profile = rows_of(queries["profile_id"], dataset.profile_table["profile_id"])
    asked = queries["time"].cast(pa.int64()).to_numpy() // 1000
    anonymous = queries["profile_id"].is_null().to_numpy(zero_copy_only=False)
    kept = np.flatnonzero((item_row >= 0) & ((profile >= 0) | anonymous))
    history, last = dataset.history, split.num_train
    # When each profile's first held-out event was; never, where none is held out.
    held = last < history.lengths
    until = np.full(len(history), np.iinfo(np.int64).max)
    until[held] = history.time_seconds[(history.offset[:-1] + last)[held]]
    train = split.train
    pairs = train.profile_rows() * dataset.items.num_rows + train.item_row
    played = np.isin(profile[kept] * dataset.items.num_rows + item_row[kept], pairs)
    own = profile[kept] >= 0
    before = asked[kept] < np.where(own, until[profile[kept]], 0)
    kept = kept[np.where(own, played & before, asked[kept] <= split.learned_seconds[1])]
    kept = kept[np.sort(np.argsort(-asked[kept], kind="stable")[: settings.most_texts])]
    texts = [" ".join(words_of(text)) for text in queries["text"].take(pa.array(kept)).to_pylist()]
    told = np.flatnonzero(_told(texts, profile[kept], settings.min_profiles))
    kept = kept[told]
    return [texts[place] for place in told.tolist()], item_row[kept], profile[kept], asked[kept]


def _told(texts: list[str], profile: np.ndarray, least: int) -> np.ndarray:
    """Which searches may be learned from: those by nobody, and texts that so many profiles searched for."""
    who: dict[str, set[int]] = defaultdict(set)
    for text, one in zip(texts, profile.tolist(), strict=True):
        who[text].add(one)
    return np.array(
        [
            bool(text) and (one == NOBODY or len(who[text] - {NOBODY}) >= least)
            for text, one in zip(texts, profile.tolist(), strict=True)
        ],
        bool,
    )


def _questions(dataset: Dataset, split: Split, profile: np.ndarray, seconds: np.ndarray) -> Queries:
    """What these profiles ask at these moments: of their history, the train events before."""
    history = dataset.history
    begin = history.offset[profile]
    stop = begin + split.num_train[profile]
    for line, (first, last, moment) in enumerate(
        zip(begin.tolist(), stop.tolist(), seconds.tolist(), strict=True)
    ):
        stop[line] = first + np.searchsorted(history.time_seconds[first:last], moment)
    return Queries(
        split.learned.slices(profile, begin, stop),
        seconds,
        dataset.country[profile],
        dataset.profile_table.take(pa.array(profile)),
    )
