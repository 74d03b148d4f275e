"""Both towers together, and their export: safetensors weights and JSON, nothing that is executed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from towers.data.batches import Batch, query_batch
from towers.data.encoded import EncodedItems
from towers.data.feature_encoder import FeatureEncoder
from towers.errors import ConfigError, MissingDataError, ReleaseError
from towers.exported import MODEL_FILE, WEIGHTS_FILE, read_object
from towers.nets.item_tower import ItemFeatureTensors, ItemTower
from towers.nets.user_tower import UserTower
from towers.recommender import Queries
from towers.settings import bounded, settings_from_plain

_FORMAT_VERSION = 2
_MAX_POSITIONS = 1 << 15


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Width and depth of the towers.

    dim: width of item and query vectors. max_history: the last so many events are read.
    request_time: whether a query's vector depends on the time since its last event.
    dropout, item_dropout: shares of activations dropped in user and item tower. id_dropout: share of items
    that lose their id in a training step.
    """

    dim: int = bounded(64, ge=4)
    num_layers: int = bounded(2, ge=1)
    num_heads: int = bounded(2, ge=1)
    max_history: int = bounded(50, ge=2)
    request_time: bool = True
    dropout: float = bounded(0.1, ge=0.0, lt=1.0)
    item_dropout: float = bounded(0.0, ge=0.0, lt=1.0)
    id_dropout: float = bounded(0.05, ge=0.0, le=1.0)


class TwoTower(nn.Module):
    """User and item tower over one feature encoder; their inner product, a cosine, is the score."""

    def __init__(self, settings: ModelSettings, encoder: FeatureEncoder) -> None:
        super().__init__()
        if settings.dim % (2 * settings.num_heads):
            raise ConfigError(
                f"model.dim: {settings.dim} does not divide into {settings.num_heads} heads of even width; "
                f"expected a multiple of {2 * settings.num_heads}"
            )
        self.settings = settings
        self.encoder = encoder
        self.items = ItemTower(
            encoder.items, settings.dim, dropout=settings.item_dropout, id_dropout=settings.id_dropout
        )
        self.users = UserTower(
            encoder.profiles,
            settings.dim,
            num_layers=settings.num_layers,
            num_heads=settings.num_heads,
            max_history=settings.max_history,
            request_time=settings.request_time,
            dropout=settings.dropout,
        )

    def forward(self, batch: Batch, item: Float[Tensor, "N D"]) -> Float[Tensor, "B L1 D"]:
        """Unit query vectors of every position."""
        vectors: Tensor = self.users(batch, item)
        return vectors

    @torch.inference_mode()
    def embed(self, encoded: EncodedItems) -> Float32[np.ndarray, "N D"]:
        """Unit vectors of a catalogue, known and cold items alike."""
        if self.training:
            self.eval()
        device = next(self.parameters()).device
        vectors: np.ndarray = self.items(ItemFeatureTensors(encoded).to(device)).float().cpu().numpy()
        return vectors

    @torch.inference_mode()
    def encode(self, queries: Queries, item: Float[Tensor, "N D"]) -> Float32[np.ndarray, "Q D"]:
        """Unit vectors of queries, in batches of bounded size."""
        if self.training:
            self.eval()
        vectors = np.empty((len(queries), self.settings.dim), np.float32)
        step = max(1, _MAX_POSITIONS // (self.settings.max_history + 1))
        for start in range(0, len(queries), step):
            part = queries.select(np.arange(start, min(start + step, len(queries))))
            profiles = self.encoder.encode_profiles(part.profiles, part.country)
            batch = query_batch(part.history, part.time_seconds, profiles, self.settings.max_history)
            every = self.users(batch.to(item.device), item)
            last = batch.num_shown.to(item.device)
            vectors[start : start + len(part)] = every[torch.arange(len(part)), last].float().cpu().numpy()
        return vectors


def save_towers(model: TwoTower, folder: Path) -> None:
    """Writes model.json and towers.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "format_version": _FORMAT_VERSION,
        "settings": asdict(model.settings),
        "encoder": model.encoder.to_json(),
    }
    (folder / MODEL_FILE).write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)


def load_towers(folder: Path) -> TwoTower:
    """The towers that `save_towers` wrote, ready to embed and encode; nothing in the files is executed.

    Raises MissingDataError where a file is not there, ReleaseError where one is damaged or is not of this
    format version.
    """
    model = _described_towers(folder / MODEL_FILE)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise MissingDataError(f"{path}: no weights beside {MODEL_FILE}; run scripts/train.py to export both")
    try:
        # Read whole, not mapped: the file may be replaced or deleted while the model lives.
        model.load_state_dict(load(path.read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        raise ReleaseError(f"{path}: {error}; expected the weights of {MODEL_FILE}") from error
    return model.eval()


def fingerprint(folder: Path) -> str:
    """SHA-256 over both files of an export: equal fingerprints are the same towers."""
    digest = hashlib.sha256()
    for name in (MODEL_FILE, WEIGHTS_FILE):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def _described_towers(path: Path) -> TwoTower:
    """Towers of the described shape, their weights still random."""
    description = _read_description(path)
    try:
        settings = settings_from_plain(ModelSettings, description["settings"], "settings")
        return TwoTower(settings, FeatureEncoder.from_json(description["encoder"]))
    except KeyError as error:
        raise ReleaseError(f"{path}: has no {error}; expected settings and encoder as exported") from error
    except (AttributeError, TypeError, ValueError) as error:  # ConfigError and SchemaError are ValueErrors
        raise ReleaseError(f"{path}: {error}; expected settings and encoder as exported") from error


def _read_description(path: Path) -> dict[str, Any]:
    description = read_object(path)
    if description.get("format_version") != _FORMAT_VERSION:
        raise ReleaseError(
            f"{path}: format_version is {description.get('format_version')!r}; expected {_FORMAT_VERSION}, "
            "which scripts/train.py writes"
        )
    return description
