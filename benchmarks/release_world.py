"""Small real releases that answer differently, and what each of them answers.

Each is of towers of its own, untrained, over a simulated log of its own, gated and published as any other; to
publish it again is to copy its files. A reader that is given one by mistake, or a mixture, answers otherwise.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.manifest import HASH_FILE, MANIFEST_FILE, Description
from retrieval.release.verify import verified
from retrieval.retriever import Retriever
from towers.data.dataset import read_dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.ingest.rules import RuleSettings
from towers.data.signals.settings import SignalSettings
from towers.data.sources.read import ingest_source
from towers.data.sources.simulated import SimulatedSettings
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

NUM_VARIANTS = 4
_NUM_ITEMS, _NUM_PROFILES, _NUM_EVENTS = 80, 60, 1_500
_NUM_ASKED, _K = 4, 8
_ANSWERS_FILE = "answers.json"


@dataclass(frozen=True, slots=True)
class Variant:
    """A release to be published again and again. answers: item ids, best first, by profile."""

    folder: Path
    number: int
    answers: dict[str, list[str]]

    def write(self, folder: Path) -> Description:
        """Puts its files into a folder; what `publish` calls."""
        for path in sorted(self.folder.iterdir()):
            if path.name not in (MANIFEST_FILE, HASH_FILE):
                shutil.copyfile(path, folder / path.name)
        return description(self.folder)

    def is_answered_by(self, retriever: Retriever) -> bool:
        """Whether a release answers as this one does."""
        return self.answers == answers(retriever, list(self.answers))


@cache
def description(folder: Path) -> Description:
    """What a release says of itself; read once."""
    return verified(folder).description


def answers(retriever: Retriever, profile_ids: list[str]) -> dict[str, list[str]]:
    """What a release answers to each of these."""
    return {name: list(retriever.recommend(name, k=_K).item_id) for name in profile_ids}


def memory() -> Path | None:
    """A folder in memory, where there is one: what is killed or failed is the same, and sooner."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else None


def variants(folder: Path, num: int = NUM_VARIANTS) -> tuple[Variant, ...]:
    """So many, made below a folder where they are not there yet; half a second each."""
    return tuple(_variant(folder / f"v{number}", number) for number in range(num))


def _variant(folder: Path, number: int) -> Variant:
    release = folder / "releases" / "r000001"
    if not (folder / _ANSWERS_FILE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, number)
        retriever = Retriever.open(release)
        made = answers(retriever, list(retriever.profile_ids[:_NUM_ASKED]))
        (folder / _ANSWERS_FILE).write_text(json.dumps(made))
    return Variant(release, number, json.loads((folder / _ANSWERS_FILE).read_text()))


def _make(folder: Path, number: int) -> None:
    signals = SignalSettings()
    log = SimulatedSettings(
        num_items=_NUM_ITEMS, num_profiles=_NUM_PROFILES, num_events=_NUM_EVENTS, seed=number
    )
    ingest_source(log, folder / "tables", RuleSettings(), signals)
    dataset = read_dataset(folder / "tables", signals)
    parts = split(dataset, SplitSettings())
    torch.manual_seed(number)
    towers = TwoTower(ModelSettings(dim=16), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    context = {"variant": number, "signals": json.loads(json.dumps(asdict(signals)))}
    export(towers, dataset, parts, folder / "model", context=context)
    build(folder, folder / "releases")


def build(folder: Path, releases: Path) -> None:
    """Publishes the release of a variant as scripts/build_index.py does: every file made, not copied."""
    build_release(
        folder / "model", folder / "tables", releases, IndexSpec(IndexKind.FLAT), GateSettings(k=10)
    )
