"""Both towers together, and their export: safetensors weights and JSON, nothing that is executed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

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
from towers.evaluation.exact import ExactRecommender
from towers.exported import MODEL_FILE, WEIGHTS_FILE, read_object
from towers.nets.ages import Ticks
from towers.nets.item_tower import ItemFeatureTensors, ItemTower
from towers.nets.moments import Clock
from towers.nets.user_tower import TimeUse, UserTower
from towers.recommender import Queries
from towers.settings import bounded, settings_from_plain

_FORMAT_VERSION = 4
_MAX_POSITIONS = 1 << 15


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Width and depth of the towers.

    dim: width of item and query vectors. num_members: pairs of towers that share it, each learned by itself.
    num_interests: vectors of a query, of which the best for a title is its score; of one pair of towers.
    max_history: the last so many events are read.
    time: what a query's vector may know of time. moment_days: with request time, days between the moments
    that have a vector of their own, what everybody asks for then; 0 has none. age_share: with request time
    and titles whose moment is known, the share of a vector that says how old the title is, a tick in each.
    dropout, item_dropout: shares of activations dropped in user and item tower; embedding_dropout: of what
    the id of an item with metadata says. event_dropout: share of the events that a training step does not
    show. id_dropout: share of items that lose their id in a training step; feature_dropout: that lose one
    other feature.
    """

    dim: int = bounded(64, ge=4)
    num_members: int = bounded(1, ge=1)
    num_interests: int = bounded(1, ge=1)
    num_layers: int = bounded(1, ge=1)
    num_heads: int = bounded(2, ge=1)
    max_history: int = bounded(50, ge=2)
    time: TimeUse = TimeUse.REQUEST
    moment_days: float = bounded(7.0, ge=0.0)
    age_share: float = bounded(0.25, ge=0.0, le=0.5)
    dropout: float = bounded(0.2, ge=0.0, lt=1.0)
    item_dropout: float = bounded(0.0, ge=0.0, lt=1.0)
    event_dropout: float = bounded(0.0, ge=0.0, lt=1.0)
    embedding_dropout: float = bounded(0.15, ge=0.0, lt=1.0)
    id_dropout: float = bounded(0.05, ge=0.0, le=1.0)
    feature_dropout: float = bounded(0.0, ge=0.0, le=1.0)

    def __post_init__(self) -> None:
        if self.num_members > 1 and self.num_interests > 1:
            raise ConfigError(
                f"model.num_interests: {self.num_interests} with num_members={self.num_members}; expected 1: "
                "members learn each by itself, and one's second interest is not the other's"
            )

    @property
    def member_dim(self) -> int:
        """Width of the vectors of one pair of towers."""
        return self.dim // self.num_members

    def clock(self, first_seconds: int, last_seconds: int) -> Clock | None:
        """The moments with a vector, of a log that is learned from between two of them; None without any."""
        if self.time is not TimeUse.REQUEST or self.moment_days == 0.0:
            return None
        return Clock.over(first_seconds, last_seconds, self.moment_days)

    def ages(self, first_seconds: int, last_seconds: int) -> Ticks | None:
        """The ticks at which a title's age is told, of such a log; None without any."""
        num_ticks = int(self.member_dim * self.age_share)
        if self.time is not TimeUse.REQUEST or num_ticks < 2:
            return None
        return Ticks.over(first_seconds, last_seconds, num_ticks)


class Member(nn.Module):
    """One pair of towers; the inner product of their vectors, a cosine, is its score."""

    def __init__(
        self, settings: ModelSettings, encoder: FeatureEncoder, clock: Clock | None, ages: Ticks | None
    ) -> None:
        super().__init__()
        self.items = ItemTower(
            encoder.items,
            settings.member_dim,
            dropout=settings.item_dropout,
            id_dropout=settings.id_dropout,
            feature_dropout=settings.feature_dropout,
            embedding_dropout=settings.embedding_dropout,
            ages=ages,
        )
        self.users = UserTower(
            encoder.profiles,
            settings.member_dim,
            num_layers=settings.num_layers,
            num_heads=settings.num_heads,
            num_interests=settings.num_interests,
            max_history=settings.max_history,
            time=settings.time,
            clock=clock,
            ages=ages,
            dropout=settings.dropout,
            event_dropout=settings.event_dropout,
        )


class TwoTower(nn.Module):
    """User and item tower over one feature encoder; their inner product, a cosine, is the score.

    Of several interests the best for a title counts: its score is the largest of theirs.
    The vectors of several members stand side by side, each scaled so that the whole has unit length: the
    score is the mean of theirs, in one exact inner product. Members are learned side by side, each by its own
    loss. They agree on what the log shows; where it shows little, their errors are their own and cancel.
    Source: deep ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474.

    clock: the moments that have a vector, as `ModelSettings.clock` gives them. ages: the ticks of the titles'
    age, as `ModelSettings.ages` gives them; there are none where no title that was learned from has one.
    """

    def __init__(
        self,
        settings: ModelSettings,
        encoder: FeatureEncoder,
        clock: Clock | None = None,
        ages: Ticks | None = None,
    ) -> None:
        super().__init__()
        if settings.dim % (2 * settings.num_heads * settings.num_members):
            raise ConfigError(
                f"model.dim: {settings.dim} does not divide into {settings.num_members} members of "
                f"{settings.num_heads} heads of even width; expected a multiple of "
                f"{2 * settings.num_heads * settings.num_members}"
            )
        self.settings = settings
        self.encoder = encoder
        self.clock = clock
        self.ages = ages if any(encoder.items.num_dated.values()) else None
        if self.ages and self.ages.num >= settings.member_dim:
            raise ConfigError(
                f"model.age_share: {self.ages.num} ticks in vectors of {settings.member_dim}; expected fewer"
            )
        self.members = nn.ModuleList(
            Member(settings, encoder, clock, self.ages) for _ in range(settings.num_members)
        )

    @classmethod
    def of_span(
        cls, settings: ModelSettings, encoder: FeatureEncoder, first_seconds: int, last_seconds: int
    ) -> "TwoTower":
        """New towers for a log that is learned from between two moments."""
        span = first_seconds, last_seconds
        return cls(settings, encoder, settings.clock(*span), settings.ages(*span))

    def item_vectors(self, items: ItemFeatureTensors) -> Float[Tensor, "N D"]:
        """Unit vectors of a catalogue."""
        return self._joined([member.items(items) for member in self.pairs()])

    def forward(self, batch: Batch, item: Float[Tensor, "N D"]) -> Float[Tensor, "S *K D"]:
        """Unit query vectors of every position of `Batch.positions`, (S, K, D) of K > 1 interests."""
        parts = self.parts(item)
        return self._joined(
            [member.users(batch, part) for member, part in zip(self.pairs(), parts, strict=True)]
        )

    def parts(self, vectors: Float[Tensor, "n *K D"]) -> list[Float[Tensor, "n *K E"]]:
        """The unit vectors of each member, of those of all."""
        scale = self.settings.num_members**0.5
        if len(self.members) == 1:
            return [vectors]
        return [part * scale for part in torch.split(vectors, self.settings.member_dim, dim=1)]

    def _joined(self, vectors: list[Tensor]) -> Tensor:
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=1) / len(vectors) ** 0.5

    def pairs(self) -> list[Member]:
        """The members, each a pair of towers."""
        return [cast("Member", member) for member in self.members]

    @torch.inference_mode()
    def embed(self, encoded: EncodedItems) -> Float32[np.ndarray, "N D"]:
        """Unit vectors of a catalogue, known and cold items alike."""
        if self.training:
            self.eval()
        device = next(self.parameters()).device
        vectors: np.ndarray = self.item_vectors(ItemFeatureTensors(encoded).to(device)).float().cpu().numpy()
        return vectors

    def exact(self, encoded: EncodedItems) -> ExactRecommender:
        """The towers as a Recommender of a catalogue by exact inner product."""
        vectors = self.embed(encoded)
        item = torch.from_numpy(vectors).to(next(self.parameters()).device)
        return ExactRecommender(lambda queries: self.encode(queries, item), vectors, item.device)

    @torch.inference_mode()
    def encode(self, queries: Queries, item: Float[Tensor, "N D"]) -> Float32[np.ndarray, "Q *K D"]:
        """Unit vectors of queries, (Q, K, D) of K > 1 interests, in batches of bounded size."""
        if self.training:
            self.eval()
        num_interests, dim = self.settings.num_interests, self.settings.dim
        shape = (dim,) if num_interests == 1 else (num_interests, dim)
        vectors = np.empty((len(queries), *shape), np.float32)
        # Longest first, so that attention pads little and the memory of a part is bounded.
        length = np.minimum(queries.history.lengths, self.settings.max_history)
        order = np.argsort(-length, kind="stable")
        while len(order):
            num = max(1, _MAX_POSITIONS // (int(length[order[0]]) + 1))
            row, order = order[:num], order[num:]
            part = queries.select(row)
            profiles = self.encoder.encode_profiles(part.profiles, part.country)
            batch = query_batch(part.history, part.time_seconds, profiles, self.settings.max_history)
            batch = batch.to(item.device)
            last = (batch.num_shown + 1).cumsum(0) - 1
            vectors[row] = self(batch, item)[last].float().cpu().numpy()
        return vectors


def save_towers(model: TwoTower, folder: Path) -> None:
    """Writes model.json and towers.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "format_version": _FORMAT_VERSION,
        "settings": asdict(model.settings),
        "encoder": model.encoder.to_json(),
        "clock": asdict(model.clock) if model.clock else None,
        "ages": asdict(model.ages) if model.ages else None,
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
        encoder = FeatureEncoder.from_json(description["encoder"])
        clock, ages = description["clock"], description["ages"]
        return TwoTower(
            settings,
            encoder,
            None if clock is None else settings_from_plain(Clock, clock, "clock"),
            None if ages is None else settings_from_plain(Ticks, ages, "ages"),
        )
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
