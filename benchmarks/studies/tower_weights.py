"""What weighing is worth to the towers, against the truth: python -m benchmarks.studies.tower_weights.

One simulated service, three seeds of training; the floor and the weights are switched apart. All are judged
on the same profiles: by the held-out title, where all hold out the same, and by the profiles' true taste.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float64

from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.signals.settings import SignalSettings
from towers.data.sources.simulated import SimulatedSettings, World, simulate
from towers.data.split import Split, SplitSettings, split
from towers.evaluation.bootstrap import paired_bootstrap
from towers.evaluation.metrics import find_hits, ndcg
from towers.ladder.rungs import exact
from towers.nets.two_tower import TwoTower
from towers.recommender import Queries
from towers.training.fit import fit_towers
from towers.training.settings import FitSettings

SEEDS = (0, 1, 2)
K = 10
NO_FLOOR, OFF, ON = "no floor, no weights", "floor", "floor and weights"
SIGNALS = {
    OFF: SignalSettings(weights=False),
    ON: SignalSettings(),
    NO_FLOOR: SignalSettings(weights=False, min_minutes=0.0, min_completion=0.0),
}


@dataclass(frozen=True, slots=True)
class Quality:
    """float64 (P,) per profile, NaN where it is not asked.

    ndcg: N@10 of its held-out title. taste: where the ten recommended stand among all titles by the profile's
    true taste, the mean of their shares of titles that it likes less.
    """

    ndcg: Float64[np.ndarray, " P"]
    taste: Float64[np.ndarray, " P"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.tower_weights")
    parser.add_argument("--num-profiles", type=int, default=2000)
    parser.add_argument("--num-events", type=int, default=60_000)
    given = parser.parse_args()
    world = simulate(SimulatedSettings(num_profiles=given.num_profiles, num_events=given.num_events))
    qualities = {}
    for name, signals in SIGNALS.items():
        dataset = dataset_from_tables(world.tables, signals)
        parts = split(dataset, SplitSettings())
        each = [_quality(world, dataset, parts, seed) for seed in SEEDS]
        qualities[name] = Quality(
            np.mean([quality.ndcg for quality in each], axis=0),
            np.mean([quality.taste for quality in each], axis=0),
        )
    _print(world, qualities)


def _quality(world: World, dataset: Dataset, parts: Split, seed: int) -> Quality:
    with TemporaryDirectory() as folder:
        towers = fit_towers(dataset, parts, replace(FitSettings(), seed=seed), Path(folder))
    ranked = _rank(towers, dataset, parts)
    asked = parts.test.profile_row
    quality = Quality(np.full(len(dataset.profiles), np.nan), np.full(len(dataset.profiles), np.nan))
    quality.ndcg[asked] = ndcg(find_hits(ranked, parts.test.target_offset, parts.test.target_row), K)
    affinity = world.affinity(asked)
    liked_less = affinity.argsort(axis=1).argsort(axis=1) / (affinity.shape[1] - 1)
    quality.taste[asked] = np.take_along_axis(liked_less, ranked, axis=1).mean(axis=1)
    return quality


def _rank(towers: TwoTower, dataset: Dataset, parts: Split) -> np.ndarray:
    test = parts.test
    asked = Queries(test.history, test.time_seconds, test.country)
    ranked: np.ndarray = exact(towers, dataset).rank(asked, K).item_row
    return ranked


def _print(world: World, qualities: Mapping[str, Quality]) -> None:
    asked = ~np.isnan(np.array([quality.taste for quality in qualities.values()])).any(axis=0)
    print(
        f"simulated: {world.tables.events.num_rows:,} events, {world.accidental.mean():.1%} accidents; "
        f"{int(asked.sum()):,} profiles asked; seeds {', '.join(map(str, SEEDS))}; "
        "95% intervals of a paired bootstrap over profiles\n"
    )
    print(f"| | N@{K} | against floor alone | true taste | against floor alone |\n|---|---:|---:|---:|---:|")
    reference = qualities[OFF]
    for name, quality in qualities.items():
        # Without a floor an accident may be what is held out: another question.
        ndcgs = ["", ""] if name == NO_FLOOR else _cells(quality.ndcg[asked], reference.ndcg[asked], name)
        cells = [name, *ndcgs, *_cells(quality.taste[asked], reference.taste[asked], name)]
        print(f"| {' | '.join(cells)} |")


def _cells(value: np.ndarray, reference: np.ndarray, name: str) -> Sequence[str]:
    interval = paired_bootstrap(value, reference)
    difference = f"{interval.difference:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    return [f"{value.mean():.4f}", "" if name == OFF else difference]


if __name__ == "__main__":
    main()
