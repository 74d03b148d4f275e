"""What differential privacy costs: python -m benchmarks.studies.private_towers trainer.max_epochs=20 …

Towers of one simulated log, trained as ever and with trainer.dp at several ε; the arguments are overrides of
scripts/train.py for all of them, or, as `private:key=value`, for the private ones alone. N@10 is of the test
questions over the whole catalogue, which ε does not cover: on a log of people it would be one more release.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conf.compose import compose_settings
from conf.schema import PipelineSettings
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.sources.simulated import SimulatedSettings, read_simulated
from towers.data.split import Split, SplitSettings, split
from towers.evaluation.evaluate import evaluate
from towers.ladder.heuristics import fit_popular
from towers.recommender import Recommender
from towers.training.fit import fit_towers
from towers.training.recipe import statistics

SERVICE = SimulatedSettings(num_items=300, num_profiles=3000, num_events=60_000, seed=7)
EPSILONS = (None, 8.0, 2.0)
PRIVATE = "private:"


@dataclass(frozen=True, slots=True)
class Run:
    """A training: its N@10 with the standard error over questions, what it took of a processor, and its σ."""

    name: str
    quality: tuple[float, float]
    seconds: float | None = None
    positions: int | None = None
    steps: int | None = None
    sigma: float | None = None


def main() -> None:
    """Prints the table."""
    of_all = [each for each in sys.argv[1:] if not each.startswith(PRIVATE)]
    of_private = [each.removeprefix(PRIVATE) for each in sys.argv[1:] if each.startswith(PRIVATE)]
    dataset = dataset_from_tables(read_simulated(SERVICE))
    parts = split(dataset, SplitSettings())
    runs = [Run("popular", _judged(fit_popular(parts.train, len(dataset.catalogue)), dataset, parts))]
    runs.append(_trained("ordinary", of_all, dataset, parts))
    for epsilon in EPSILONS:
        noise = "noise_multiplier=0" if epsilon is None else f"target_epsilon={epsilon:g}"
        name = "ε = ∞: cut, no noise" if epsilon is None else f"ε = {epsilon:g}"
        runs.append(_trained(name, [*of_all, *of_private, f"trainer.dp.{noise}"], dataset, parts))
    table = Table("", "N@10", "s.e.", "σ", "steps", "CPU seconds", "positions / CPU second")
    for run in runs:
        figures = [f"{each:.4f}" for each in run.quality]
        speed = run.positions / run.seconds if run.positions and run.seconds else None
        rest = [(run.sigma, ".3f"), (run.steps, ",d"), (run.seconds, ",.0f"), (speed, ",.0f")]
        table.add_row(run.name, *figures, *("–" if one is None else f"{one:{form}}" for one, form in rest))
    Console(width=110).print(table)


def _trained(name: str, overrides: list[str], dataset: Dataset, parts: Split) -> Run:
    settings = compose_settings(PipelineSettings, "train", ["query_tower=none", *overrides])
    fit = settings.settled(statistics(parts)).fit
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        towers = fit_towers(dataset, parts, fit, Path(folder))
        seconds = time.process_time() - begun
        speed = json.loads(Path(folder, "training_speed.json").read_text(encoding="utf-8"))
        said = Path(folder, "differential_privacy.json")
        spent = json.loads(said.read_text(encoding="utf-8")) if said.is_file() else {}
    quality = _judged(towers.exact(towers.encoder.encode(dataset.items)), dataset, parts)
    found = Run(
        *(name, quality, seconds, speed["num_positions"]),
        *(spent.get("num_steps"), spent.get("noise_multiplier")),
    )
    print(found, file=sys.stderr)
    return found


def _judged(recommender: Recommender, dataset: Dataset, parts: Split) -> tuple[float, float]:
    judged = evaluate(
        recommender, parts.test, num_items=len(dataset.catalogue), ks=(10,), name="test", show_progress=False
    ).per_query("ndcg@10")
    return float(judged.mean()), float(judged.std() / len(judged) ** 0.5)


if __name__ == "__main__":
    main()
