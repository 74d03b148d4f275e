"""The rung of what was begun: the next episodes of series in progress, then popularity."""

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from towers.data.columns import numbers
from towers.data.features import ATTRIBUTE
from towers.data.histories import Histories, runs
from towers.data.signals.episodes import title_rows
from towers.ladder.heuristics import Popular, fit_popular
from towers.recommender import Queries, Rankings, check_history, check_k
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ContinuingSettings:
    """num_ahead: so many next episodes of each series in progress stand before popularity.

    season, episode: attributes of the items table that number the episodes of a series.
    """

    num_ahead: int = bounded(3, ge=1)
    season: str = "season"
    episode: str = "episode"


@dataclass(frozen=True, slots=True)
class Continuing:
    """A Recommender of the next episodes, and of the most watched titles after them.

    A series is in progress where the history holds an episode of it. Its next episodes are those in order
    after the one watched last, watched ones left out; what was skipped before it is not next. First comes the
    next episode of each series, the series watched last first; then the second next of each, and so on.
    A history of series alone (`episodes_to_series`) does not say which episode is next: popularity.
    The score is 1 + 1 / place for an episode, and for the rest the share of train events.

    popular: popularity over all of train.
    episode: int64 (M,), rows of all episodes, those of a series together and in order.
    stop: int64 (M,), the place in `episode` behind the last of the same series.
    place: int64 (N,), the place of each item in `episode`, -1 where it is none.
    """

    popular: Popular
    episode: Int64[np.ndarray, " M"]
    stop: Int64[np.ndarray, " M"]
    place: Int64[np.ndarray, " N"]
    num_ahead: int

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The next episodes of what each query's profile is watching, then popularity, k together."""
        check_k(k)
        history = queries.history
        check_history(history, len(self.place))
        query, item = self._ahead(history)
        num_ahead = np.bincount(query, minlength=len(history))
        known = _with_items(history, query, item)
        rest = self.popular.rank(Queries(known, queries.time_seconds, queries.country), k)
        column = np.arange(k)
        behind = np.maximum(column - num_ahead[:, None], 0)
        item_row = np.take_along_axis(rest.item_row, behind, axis=1)
        score = np.take_along_axis(rest.score, behind, axis=1)
        place = np.arange(len(query)) - np.repeat(np.cumsum(num_ahead) - num_ahead, num_ahead)
        shown = place < k
        item_row[query[shown], place[shown]] = item[shown]
        score[query[shown], place[shown]] = 1.0 + 1.0 / (1.0 + place[shown])
        return Rankings(item_row, score)

    def _ahead(self, history: Histories) -> tuple[Int64[np.ndarray, " A"], Int64[np.ndarray, " A"]]:
        """Query and item of all next episodes, by query, best first."""
        num_places = len(self.episode) + 1
        event = np.flatnonzero(self.place[history.item_row] >= 0)
        query, place = history.profile_rows()[event], self.place[history.item_row[event]]
        # One line per query and series: the newest event is the first where the log is read backwards.
        series = query * num_places + self.stop[place]
        _, newest, num_watched = np.unique(series[::-1], return_index=True, return_counts=True)
        newest = len(event) - 1 - newest
        first, stop = place[newest] + 1, self.stop[place[newest]]
        # No more than was watched can be left out of what follows.
        lengths = np.minimum(stop - first, self.num_ahead + num_watched)
        line, ahead = np.repeat(np.arange(len(newest)), lengths), runs(first, lengths)
        unwatched = ~np.isin(query[newest][line] * num_places + ahead, query * num_places + place)
        line, ahead = line[unwatched], ahead[unwatched]
        num_ahead = np.bincount(line, minlength=len(newest))
        step = np.arange(len(line)) - np.repeat(np.cumsum(num_ahead) - num_ahead, num_ahead)
        order = np.lexsort((-newest[line], step, query[newest][line]))
        order = order[step[order] < self.num_ahead]
        return query[newest][line[order]], self.episode[ahead[order]]


def _with_items(
    history: Histories, profile: Int64[np.ndarray, " A"], item: Int64[np.ndarray, " A"]
) -> Histories:
    """The histories with more items, as what may not be shown: without times."""
    owner = np.concatenate([history.profile_rows(), profile])
    item_row = np.concatenate([history.item_row, item])[np.argsort(owner, kind="stable")]
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owner, minlength=len(history)))])
    return Histories(offset, item_row, np.zeros(len(owner), np.int64), np.zeros(len(owner), np.float32))


def fit_continuing(
    train: Histories, items: pa.Table, settings: ContinuingSettings | None = None
) -> Continuing:
    """Continuing of the train events over a catalogue, its `items` table.

    Episodes of a series are ordered by the attributes `season` and `episode`, unnumbered ones last, equals as
    in the table. Raises SchemaError where such an attribute of an episode is no number, or where a series
    belongs to another.
    """
    settings = settings or ContinuingSettings()
    check_ranges(settings, "continuing")
    title = title_rows(items)
    episode = np.flatnonzero(title != np.arange(len(title)))
    if len(episode):
        table = items.take(pa.array(episode))
        season, number = (numbers(table, ATTRIBUTE + name) for name in (settings.season, settings.episode))
        episode = episode[np.lexsort((number, season, title[episode]))]
    place = np.full(len(title), -1, np.int64)
    place[episode] = np.arange(len(episode))
    series = title[episode]
    log.info("fitted continuing num_events=%d num_episodes=%d", train.num_events, len(episode))
    return Continuing(
        popular=fit_popular(train, items.num_rows),
        episode=episode,
        stop=np.searchsorted(series, series, side="right"),
        place=place,
        num_ahead=settings.num_ahead,
    )
