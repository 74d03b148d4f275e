"""Makes the small releases of `release_world`: untrained towers over simulated logs, one for each."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.publish_reading import answers
from benchmarks.release_world import Variant
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
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
_NUM_ASKED = 4
_ANSWERS_FILE = "answers.json"


def variants(folder: Path, num: int = NUM_VARIANTS) -> tuple[Variant, ...]:
    """So many, made below a folder where they are not there yet; half a second each."""
    return tuple(_variant(folder / f"v{number}", number) for number in range(num))


def _variant(folder: Path, number: int) -> Variant:
    release = folder / "releases" / "r000001"
    if not (folder / _ANSWERS_FILE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, number)
        retriever = Retriever.open(release)
        made = answers(retriever, retriever.profile_ids[:_NUM_ASKED])
        (folder / _ANSWERS_FILE).write_text(json.dumps(made))
    return Variant(release, number, json.loads((folder / _ANSWERS_FILE).read_text()))


def _make(folder: Path, number: int) -> None:
    signals = SignalSettings()
    log = SimulatedSettings(
        num_items=_NUM_ITEMS, num_profiles=_NUM_PROFILES, num_events=_NUM_EVENTS, seed=number
    )
    ingest_source(log, folder / "tables", RuleSettings(), signals, None)
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
