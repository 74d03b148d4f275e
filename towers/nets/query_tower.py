"""The query tower: a text → a vector among those of the items, alone or with who asks."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from towers.data.asked_texts import AskedTexts
from towers.errors import MissingDataError, ReleaseError, SkewError
from towers.exported import QUERY_FILE, QUERY_WEIGHTS_FILE, read_object
from towers.nets.backbone import Backbone, described, open_exported
from towers.nets.dropout import Dropout
from towers.nets.unit import unit
from towers.settings import bounded, settings_from_plain

_FORMAT_VERSIONS = {False: 1, True: 2}
"""Of a query tower without a backbone and of one with: what reads version 1 alone refuses the other."""
_FIRST_GATE = 0.3
_SHRINKAGE = 1.0
_WORDS_COUNT = 0.5
_RIDGE = 0.1
_PROBE = "a film about the sea"
_PROBE_ERROR = 1e-3
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class QueryTowerSettings:
    """How texts are read.

    buckets: rows for hashed words and n-grams. max_words: the first so many are read. dropout: share of what
    is known of a word that a training step leaves out. temperature: of the softmax over titles.
    """

    buckets: int = bounded(1 << 15, ge=1, lt=2**31)
    max_words: int = bounded(24, ge=1)
    dropout: float = bounded(0.1, ge=0.0, lt=1.0)
    temperature: float = bounded(0.05, gt=0.0)


@dataclass(frozen=True, slots=True)
class TextTensors:
    """`AskedTexts` on a device, and of each word its text and its place there, from 0."""

    gram_offset: Int64[Tensor, " W1"]
    bucket: Int64[Tensor, " G"]
    text: Int64[Tensor, " W"]
    place: Int64[Tensor, " W"]
    num_texts: int

    @staticmethod
    def of(texts: AskedTexts) -> "TextTensors":
        """The same texts."""
        start = torch.from_numpy(texts.word_offset)
        text = torch.repeat_interleave(torch.diff(start))
        return TextTensors(
            torch.from_numpy(texts.gram_offset),
            torch.from_numpy(texts.bucket),
            text,
            torch.arange(len(text)) - start[text],
            len(texts),
        )


class QueryTower(nn.Module):
    """Texts → unit vectors (Q, D) in the space of the item vectors it was fitted to.

    A word is the mean of the embeddings of itself and its n-grams, so that it is known by its stem, and
    mistyped; beside it count its place and the word before it. Words are pooled by learned weights, and one
    residual layer refines the sum. Embeddings lie in the items' space: before anything is learned they are
    where the titles lie that are asked for with that n-gram (`begin_at`). What no text of the training had
    says nothing; `learned` has the buckets that do.

    With who asks, the vector is that of text and user tower together, and how much of the latter a learned
    gate says, for each text by itself: what names one title needs none, a genre much. Without one of the two
    it is exactly the other's.

    With a backbone, which is frozen, W e + b is added to the pooled words before that layer: e what the
    backbone makes of the text, W and b learned. So a word that nobody asked by yet is read by what it means.
    Source of the n-grams: Bojanowski et al. 2017, doi:10.1162/tacl_a_00051.
    """

    learned: Bool[Tensor, " R"]
    probe: Float[Tensor, " E"]

    def __init__(self, settings: QueryTowerSettings, dim: int, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.settings, self.dim, self.backbone = settings, dim, backbone
        self.gram = nn.EmbeddingBag(settings.buckets, dim, mode="mean", include_last_offset=True, sparse=True)
        self.place = nn.Embedding(settings.max_words, dim)
        self.before = nn.Linear(dim, dim, bias=False)
        self.weigh = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))
        self.dropout = Dropout(settings.dropout)
        self.refine = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )
        self.middle = nn.Parameter(torch.zeros(dim))
        self.gate = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))
        for weight in (self.gram.weight, self.place.weight, self.before.weight):
            nn.init.zeros_(weight)
        for layer in (self.weigh[1], self.refine[3], self.gate[1]):
            nn.init.zeros_(cast("nn.Linear", layer).weight)
            nn.init.zeros_(cast("nn.Linear", layer).bias)
        nn.init.constant_(cast("nn.Linear", self.gate[1]).bias, math.log(math.expm1(_FIRST_GATE)))
        self.register_buffer("learned", torch.zeros(settings.buckets, dtype=torch.bool))
        self.beside = None if backbone is None else nn.Linear(backbone.dim, dim)
        if self.beside is not None and backbone is not None:
            nn.init.zeros_(self.beside.weight)
            nn.init.zeros_(self.beside.bias)
            # One text as it is read in training: other versions of the libraries may read it otherwise.
            self.register_buffer("probe", torch.from_numpy(backbone.embed([_PROBE])[0]))

    @torch.no_grad()
    def begin_at(
        self, texts: TextTensors, item: Float[Tensor, "Q D"], embedded: Float[Tensor, "Q E"] | None = None
    ) -> None:
        """Puts each n-gram where the titles lie that it asks for, as seen from the middle of all.

        e_g = Σ (v_i − m) / (n_g + κ), over the n_g texts that have it; m: the mean of the texts' titles. What
        stands in texts for titles of every kind ends near 0, so that rare words say more than common ones;
        κ keeps what few texts have from saying it too loudly.
        item: of each text, the vector of the title that it is for. embedded: what the backbone makes of each;
        W and b begin at the least squares of what the words leave where they count half, so that the backbone
        says what it can by itself, and not only what the words of these texts do not.
        """
        text = texts.text.repeat_interleave(texts.gram_offset[1:] - texts.gram_offset[:-1])
        count = torch.bincount(texts.bucket, minlength=self.settings.buckets)
        self.middle.copy_(item.mean(0))
        total = torch.zeros_like(self.gram.weight).index_add_(0, texts.bucket, (item - self.middle)[text])
        self.gram.weight.copy_(total / (count + _SHRINKAGE)[:, None])
        self.learned.copy_(count > 0)
        if self.beside is not None and embedded is not None:
            training = self.training
            pooled = self.eval()._pooled(texts)
            self.train(training)
            weight, bias = _least_squares(embedded, item - self.middle - _WORDS_COUNT * pooled)
            self.beside.weight.copy_(weight)
            self.beside.bias.copy_(bias)

    def forward(
        self, texts: TextTensors, embedded: Float[Tensor, "Q E"] | None = None
    ) -> tuple[Float[Tensor, "Q D"], Float[Tensor, " Q"]]:
        """Unit vectors of texts, and the gate of each: how much of who asks belongs to it, 0 or more.

        embedded: of each text what the backbone makes of its words (`plain_texts`), where there is one.
        """
        pooled = self._pooled(texts)
        if self.beside is not None:
            pooled = pooled + self.beside(embedded)
        vector = unit(self.middle + pooled + self.refine(pooled))
        return vector, F.softplus(self.gate(pooled))[:, 0]

    def _pooled(self, texts: TextTensors) -> Float[Tensor, "Q D"]:
        """The sum of each text's words by their learned weights; zeros of one without words."""
        word = self.gram(texts.bucket, texts.gram_offset)
        last = F.pad(word, (0, 0, 1, 0))[:-1] * (texts.place > 0)[:, None]
        word = self.dropout(word + self.before(last) + self.place(texts.place))
        chance = torch.exp(self.weigh(word).clamp(max=20.0))
        summed = torch.zeros(texts.num_texts, self.dim + 1, device=word.device).index_add(
            0, texts.text, torch.cat([chance * word, chance], dim=1)
        )
        return summed[:, :-1] / summed[:, -1:].clamp(min=_LEAST)


def together(
    text: Float[Tensor, "Q D"], gate: Float[Tensor, " Q"], user: Float[Tensor, "Q *K D"]
) -> Float[Tensor, "Q *K D"]:
    """Unit vectors of texts and of who asks, v = (t + g u) / |t + g u|, per interest of K."""
    if user.ndim == 3:
        return unit(text[:, None] + gate[:, None, None] * user)
    return unit(text + gate[:, None] * user)


def _least_squares(
    given: Float[Tensor, "Q E"], wanted: Float[Tensor, "Q D"]
) -> tuple[Float[Tensor, "D E"], Float[Tensor, " D"]]:
    """W and b of the least Σ |wanted − W given − b|² + λ |W|²; λ: a tenth of the mean variance of `given`."""
    given, wanted = given.double(), wanted.double()
    middle, mean = given.mean(0), wanted.mean(0)
    centred = given - middle
    gram = centred.T @ centred
    ridge = _RIDGE * gram.diagonal().mean() + _LEAST
    eye = torch.eye(len(gram), dtype=gram.dtype)
    weight = torch.linalg.solve(gram + ridge * eye, centred.T @ (wanted - mean)).T
    return weight.float(), (mean - weight @ middle).float()


def save_query_tower(tower: QueryTower, folder: Path, towers: str) -> None:
    """Writes QUERY_FILE and QUERY_WEIGHTS_FILE into a folder that exists, and copies its backbone's files.

    towers: the fingerprint of the towers whose item vectors it was fitted to. Of the texts that it learned
    from nothing is written but which buckets they fell into.
    """
    backbone = tower.backbone
    description: dict[str, Any] = {
        "format_version": _FORMAT_VERSIONS[backbone is not None],
        "settings": asdict(tower.settings),
        "dimension": tower.dim,
        "towers": towers,
    }
    if backbone is not None:
        description["backbone"] = described(backbone, backbone.files.copy(folder))
    (folder / QUERY_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    weights = {name: value.detach().cpu().contiguous() for name, value in tower.state_dict().items()}
    save_file(weights, folder / QUERY_WEIGHTS_FILE)


def load_query_tower(folder: Path, towers: str) -> QueryTower | None:
    """The query tower that `save_query_tower` wrote, ready to read texts; None where the folder has none.

    towers: the fingerprint of the towers that it is to be used with. Raises ReleaseError where it was fitted
    to others, where a file is damaged or of another format version; MissingDataError without its weights.
    With a backbone also MissingExtraError without the extra `text`, and SkewError where the libraries that
    are installed read texts otherwise than those that it was trained with.
    """
    path, weights = folder / QUERY_FILE, folder / QUERY_WEIGHTS_FILE
    if not path.is_file() and not weights.is_file():
        return None
    read = read_object(path)
    expected = _FORMAT_VERSIONS["backbone" in read]
    if read.get("format_version") != expected:
        raise ReleaseError(
            f"{path}: format_version is {read.get('format_version')!r}; expected {expected}, which "
            "scripts/train.py writes"
        )
    if read.get("towers") != towers:
        raise ReleaseError(
            f"{path}: fitted to the item vectors of the towers {read.get('towers')!r}; expected {towers!r}"
        )
    if not weights.is_file():
        raise MissingDataError(f"{weights}: no weights beside {QUERY_FILE}; scripts/train.py exports both")
    backbone = open_exported(folder, read["backbone"], path) if "backbone" in read else None
    try:
        settings = settings_from_plain(QueryTowerSettings, read.get("settings"), "settings")
        tower = QueryTower(settings, int(read["dimension"]), backbone)
        # Read whole, not mapped: the file may be replaced or deleted while the model lives.
        tower.load_state_dict(load(weights.read_bytes()))
    except (KeyError, TypeError, ValueError) as error:  # ConfigError is a ValueError
        raise ReleaseError(f"{path}: {error!r}; expected settings and dimension as exported") from error
    except (SafetensorError, RuntimeError) as error:
        raise ReleaseError(f"{weights}: {error}; expected the weights of {QUERY_FILE}") from error
    if backbone is not None:
        away = float(np.abs(backbone.embed([_PROBE])[0] - tower.probe.numpy()).max())
        if not away <= _PROBE_ERROR:
            raise SkewError(
                f"{path}: the backbone reads a text {away:.2g} away from where it did in training; expected "
                f"{_PROBE_ERROR:g} at most: install the versions of sentence-transformers and transformers "
                "that it was trained with, or train anew"
            )
    return tower.eval()


def query_fingerprint(folder: Path) -> str:
    """SHA-256 over both files, which name that of a backbone: equal ones are the same query tower."""
    digest = hashlib.sha256()
    for name in (QUERY_FILE, QUERY_WEIGHTS_FILE):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
