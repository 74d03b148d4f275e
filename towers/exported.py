"""The export folder of trained towers: the names of its files, and how its JSON is read."""

import json
from pathlib import Path
from typing import Any

from towers.errors import MissingDataError, ReleaseError

MODEL_FILE = "model.json"
"""Settings of the towers and the fitted feature encoder."""
WEIGHTS_FILE = "towers.safetensors"
"""Weights of both towers."""
VECTORS_FILE = "items.safetensors"
"""Item vectors and train events per item."""
FINGERPRINT = "model_fingerprint"
"""The metadata under which a file of vectors names its model, by `nets.two_tower.fingerprint`."""
QUERY_FILE = "query.json"
"""Settings of the query tower, and the towers whose item vectors it finds; where one was trained."""
QUERY_WEIGHTS_FILE = "query.safetensors"
"""Its weights."""
BACKBONE_PREFIX = "backbone."
"""Begins the names of its backbone's files, where it has one; QUERY_FILE says which of them is which."""
TRAINING_FILE = "training.json"
"""The settings the towers were trained under."""


def read_context(folder: Path) -> dict[str, Any]:
    """What training.json of an export holds; raises as `read_object` does."""
    return read_object(folder / TRAINING_FILE)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of an export: MissingDataError where there is none, ReleaseError where it is damaged."""
    if not path.is_file():
        raise MissingDataError(f"{path}: no exported model; run scripts/train.py first")
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{path}: {error}; expected JSON") from error
    if not isinstance(read, dict):
        raise ReleaseError(f"{path}: holds a {type(read).__name__}; expected a JSON object")
    return read
