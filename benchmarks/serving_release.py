"""The release of the claim `serving`: towers of a simulated log, and an index compiled for recall .95.

The towers are of the form of those of the claim `ann`, and learn for a fifth as long: what they have learned
matters to no clock. They learn from the most watched titles and place the others by their metadata. What is
made is kept under .bench/serving, towers and release apart.
"""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from safetensors.numpy import save

from benchmarks.ann_encoders import SimulatedLog, TowersRecipe, learned
from benchmarks.ann_vectors import ONE_PASS
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.files import MODEL_FILES
from retrieval.release.gates import GateSettings
from retrieval.release.store import open_release
from towers.errors import ReleaseError
from towers.exported import TRAINING_FILE, VECTORS_FILE

RECIPE = TowersRecipe(SimulatedLog(1_000_000, 600_000, 50_000), ONE_PASS, num_trained=30_000)
TARGET_RECALL = 0.95
_VERSION = 1
"""To be raised where an index or a release is made otherwise: a release of an older one is not measured."""


def made(recipe: TowersRecipe, root: Path) -> Path:
    """The root of the releases of a recipe, whose current one is made where there is none.

    Broken off, it goes on: towers that were trained stay.
    """
    folder = folder_of(recipe, root)
    releases = folder / f"releases-{_VERSION}"
    try:
        open_release(releases)
    except ReleaseError:
        _make(recipe, folder, releases)
    return releases


def folder_of(recipe: TowersRecipe, root: Path) -> Path:
    """Where what is made of a recipe lies, by a hash of it."""
    return root / hashlib.sha256(json.dumps(asdict(recipe)).encode()).hexdigest()[:12]


def _make(recipe: TowersRecipe, folder: Path, releases: Path) -> None:
    encoder = learned(recipe, folder)
    export = folder / "export"
    export.mkdir(exist_ok=True)
    for name in (*MODEL_FILES, TRAINING_FILE):
        shutil.copyfile(folder / "model" / name, export / name)
    arrays = {"vector": encoder.items, "num_events": encoder.num_events}
    (export / VECTORS_FILE).write_bytes(save(arrays))
    del encoder, arrays
    spec = IndexSpec(IndexKind.COMPILED, target_recall=TARGET_RECALL)
    # The recall that it is compiled for is met on other questions than those of the gate.
    gates = GateSettings(min_recall=TARGET_RECALL - 0.02)
    tables = folder / ("tables" if recipe.num_trained is None else "whole")
    build_release(export, tables, releases, spec, gates)
    shutil.rmtree(export)
