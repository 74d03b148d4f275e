"""What weighing is worth: python -m benchmarks.studies.preference_weights lastfm, movielens or simulated.

A tenth of each profile's titles, at random, is held out; matrix factorisation (`implicit_als`) learns from
the rest, and ranks the whole catalogue but what the profile is known to have watched. Each way to weigh has
the settings that were best for it on a tenth of that rest.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64
from rich.console import Console
from rich.progress import track

from benchmarks.studies.implicit_als import ALSSettings, fit_als
from towers.data.dataset import read_dataset
from towers.data.histories import Histories
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.signals.preference import amount_of, preference_weight
from towers.data.signals.rewatches import with_rewatches
from towers.data.signals.settings import SignalSettings
from towers.data.sources.movielens import MovieLensSettings
from towers.data.sources.read import read_source
from towers.data.sources.simulated import SimulatedSettings
from towers.errors import MissingDataError
from towers.evaluation.bootstrap import paired_bootstrap
from towers.evaluation.metrics import find_hits, ndcg
from towers.ladder.dense import rank_scores

SEEDS = (0, 1, 2)
K = 10
HELD_OUT_SHARE = 0.1
OFF, ON, LINEAR = "weights off", "weights on", "no logarithm"
GRID = tuple(
    ALSSettings(confidence=confidence, regularisation=regularisation)
    for confidence, regularisation in product((1.0, 4.0, 16.0), (3.0, 10.0, 30.0, 100.0))
)


@dataclass(frozen=True, slots=True)
class Log:
    """Events of profiles on `num_items` titles, each title once a profile, weighed."""

    history: Histories
    num_items: int


@dataclass(frozen=True, slots=True)
class Quality:
    """float64 (P,) per profile, NaN where nothing of it is held out; means over the seeds where several.

    ndcg: N@10 of the held-out titles. weight: the share of their weight, as with weights on, in the top 10.
    """

    ndcg: Float64[np.ndarray, " P"]
    weight: Float64[np.ndarray, " P"]


def main() -> None:
    """Prints the table of one log."""
    logs: dict[str, Callable[[], Log]] = {"lastfm": _lastfm, "movielens": _movielens, "simulated": _simulated}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.preference_weights")
    parser.add_argument(
        "log", choices=logs, help="the log to learn from; all but simulated are in $TOWERS_DATA"
    )
    name = parser.parse_args().log
    log = logs[name]()
    weights = _ways_to_weigh(log)
    tasks = [(way, seed) for way in weights for seed in SEEDS]
    qualities: dict[str, list[Quality]] = {way: [] for way in weights}
    console = Console(stderr=True)
    for way, seed in track(tasks, "measuring", console=console, disable=not console.is_terminal):
        qualities[way].append(_measure(log, weights[way], seed))
    _print(name, log, {way: _over_seeds(each) for way, each in qualities.items()})


def _ways_to_weigh(log: Log) -> Mapping[str, Float32[np.ndarray, " E"]]:
    """Weights of mean 1, so that the settings of the model mean the same with each."""
    weight = log.history.weight
    ways = {OFF: np.ones_like(weight), ON: weight, LINEAR: amount_of(weight)}
    return {name: value / value.mean() for name, value in ways.items()}


def _measure(log: Log, weight: Float32[np.ndarray, " E"], seed: int) -> Quality:
    """The quality on what a seed holds out, with the settings that were best on a tenth of the rest."""
    every = np.ones(log.history.num_events, dtype=bool)
    held_out = _hold_out(log.history, every, seed)
    known = every & ~held_out
    validation = _hold_out(log.history, known, seed + 1000)
    best = max(
        GRID,
        key=lambda settings: float(
            np.nanmean(_quality(log, weight, known & ~validation, validation, settings, seed).ndcg)
        ),
    )
    return _quality(log, weight, known, held_out, best, seed)


def _hold_out(history: Histories, among: Bool[np.ndarray, " E"], seed: int) -> Bool[np.ndarray, " E"]:
    """A tenth, rounded down, of each profile's events among those given, at random."""
    chance = np.where(among, np.random.default_rng(seed).random(history.num_events), 2.0)
    order = np.lexsort((chance, history.profile_rows()))
    place = np.arange(history.num_events) - np.repeat(history.offset[:-1], history.lengths)
    num_among = np.bincount(history.profile_rows()[among], minlength=len(history))
    num_held_out = np.floor(HELD_OUT_SHARE * num_among).astype(np.int64)
    held_out = np.zeros(history.num_events, dtype=bool)
    held_out[order] = place < np.repeat(num_held_out, history.lengths)
    return held_out


def _quality(
    log: Log,
    weight: Float32[np.ndarray, " E"],
    known: Bool[np.ndarray, " E"],
    held_out: Bool[np.ndarray, " E"],
    settings: ALSSettings,
    seed: int,
) -> Quality:
    train, targets = replace(log.history, weight=weight).only(known), log.history.only(held_out)
    profile, item = fit_als(train, log.num_items, settings, seed)
    asked = np.flatnonzero(targets.lengths)
    scores = (profile[asked] @ item.T).astype(np.float32)
    ranked = rank_scores(scores, train.select(asked), K).item_row
    answers = targets.select(asked)
    of_target = np.zeros((len(asked), log.num_items))
    of_target[answers.profile_rows(), answers.item_row] = answers.weight
    quality = Quality(np.full(len(train), np.nan), np.full(len(train), np.nan))
    quality.ndcg[asked] = ndcg(find_hits(ranked, answers.offset, answers.item_row.astype(np.int64)), K)
    found = np.take_along_axis(of_target, ranked, axis=1).sum(axis=1)
    quality.weight[asked] = found / of_target.sum(axis=1)
    return quality


def _over_seeds(qualities: Sequence[Quality]) -> Quality:
    return Quality(
        np.mean([quality.ndcg for quality in qualities], axis=0),
        np.mean([quality.weight for quality in qualities], axis=0),
    )


def _print(name: str, log: Log, qualities: Mapping[str, Quality]) -> None:
    asked = ~np.isnan(qualities[OFF].ndcg)
    print(
        f"{name}: {log.history.num_events:,} events of {len(log.history):,} profiles on {log.num_items:,} "
        f"titles; {int(asked.sum()):,} profiles asked; seeds {', '.join(map(str, SEEDS))}; "
        "95% intervals of a paired bootstrap over profiles\n"
    )
    print(f"| | N@{K} | against {OFF} | weight in the top {K} | against {OFF} |\n|---|---:|---:|---:|---:|")
    for way, quality in qualities.items():
        cells = [way]
        for value, reference in (
            (quality.ndcg[asked], qualities[OFF].ndcg[asked]),
            (quality.weight[asked], qualities[OFF].weight[asked]),
        ):
            interval = paired_bootstrap(value, reference)
            cells.append(f"{value.mean():.4f}")
            cells.append(
                ""
                if way == OFF
                else f"{interval.difference:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
            )
        print(f"| {' | '.join(cells)} |")


def _lastfm() -> Log:
    """Plays of artists: the only log here with true amounts."""
    read = pl.read_csv(_folder("lastfm-2k-plays") / "user_artist_plays.csv.gz").sort("userIdx", "artistIdx")
    item = read["artistIdx"].rank("dense").to_numpy().astype(np.int64) - 1
    profile = read["userIdx"].rank("dense").to_numpy().astype(np.int64) - 1
    unknown = np.full(len(read), np.nan, np.float32)
    weight = preference_weight(unknown, unknown, SignalSettings(), plays=read["playCount"].to_numpy())
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(profile))])
    return Log(Histories(offset, item, np.zeros(len(read), np.int64), unknown, weight), int(item.max()) + 1)


def _movielens() -> Log:
    """Ratings, their stars as weights."""
    return _ingested(MovieLensSettings(root=str(_folder("ml-latest-small"))))


def _simulated() -> Log:
    """Minutes watched and repeated plays of the default service."""
    return _ingested(SimulatedSettings())


def _ingested(source: MovieLensSettings | SimulatedSettings) -> Log:
    with TemporaryDirectory() as artifacts:
        folder = Path(artifacts) / "tables"
        ingest(read_source(source), source.title, folder, RuleSettings())
        dataset = read_dataset(folder, SignalSettings())
        never = np.full(len(dataset.history), np.iinfo(np.int64).max)
        weighed = with_rewatches(dataset.history, dataset.repeats, never)
        # All its events, and in memory: the files go with the folder.
        return Log(weighed.select(np.arange(len(weighed))), len(dataset.catalogue))


def _folder(name: str) -> Path:
    folder = os.environ.get("TOWERS_DATA")
    if not folder or not Path(folder, name).is_dir():
        raise MissingDataError(f"TOWERS_DATA is {folder!r}; expected the folder that holds {name}")
    return Path(folder, name)


if __name__ == "__main__":
    main()
