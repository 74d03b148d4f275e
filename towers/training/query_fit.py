"""Fits the query tower to the item vectors of towers that are trained; these stay as they are."""

import logging
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from towers.data.asked_texts import AskedTexts, encode_texts, plain_texts
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.nets.backbone import Backbone, open_backbone
from towers.nets.query_tower import QueryTower, TextTensors, together
from towers.nets.two_tower import TwoTower
from towers.settings import check_ranges
from towers.training.query_examples import NOBODY, Examples, examples
from towers.training.query_negatives import Scored
from towers.training.query_settings import QueryFitSettings

log = logging.getLogger(__name__)

_SIZES = (1.0, 0.75, 0.5, 0.25, 0.1)
"""Of what a backbone adds at first, as a share of its least squares; the first that does no harm is taken."""
_SAMPLED = 2048
"""Texts that say so."""


def fit_query_tower(
    towers: TwoTower,
    dataset: Dataset,
    split: Split,
    queries: pa.Table,
    settings: QueryFitSettings,
    seed: int,
) -> QueryTower | None:
    """A query tower for the item vectors of towers, which are read and not changed; None with 0 epochs.

    queries: the searches that were logged (`towers.data.schema.QUERIES`). Neither text nor profile is logged.
    Raises as `open_backbone` where the settings name a backbone.
    """
    check_ranges(settings, "query_tower")
    if settings.epochs == 0:
        return None
    begun = time.perf_counter()
    folder = settings.backbone
    backbone = None if folder is None else open_backbone(Path(folder), settings.backbone_tokens)
    given = examples(dataset, split, queries, settings, seed)
    vectors = towers.embed(towers.encoder.encode(dataset.items))
    item = torch.from_numpy(vectors)
    # What inference made has no place in a gradient; a copy has.
    user = torch.from_numpy(towers.encode(given.questions, item)).clone()
    torch.manual_seed(seed)
    tower = QueryTower(settings.model, vectors.shape[1], backbone)
    scored = Scored(dataset.items, settings.most_scored)
    loss = _fit(tower, item, user, given, settings, scored, np.random.default_rng(seed))
    log.info(
        "query tower trained num_texts=%d num_logged=%d num_asked=%d loss=%.3f seconds=%.1f",
        len(given),
        given.num_logged,
        int((given.asker != NOBODY).sum()),
        loss,
        time.perf_counter() - begun,
    )
    return tower.eval()


class _Embedded:
    """What a backbone makes of the texts of a training: of each that differs once, before the first step.

    vector: float32 (d, E) of the d texts that differ; row: int64 (Q,), which of them each is.
    """

    def __init__(self, backbone: Backbone, texts: list[str], settings: QueryFitSettings) -> None:
        begun = time.perf_counter()
        distinct, self._row = np.unique(plain_texts(texts, settings.model.max_words), return_inverse=True)
        self._vector = torch.from_numpy(backbone.embed(distinct.tolist(), settings.backbone_batch))
        log.info(
            "backbone read num_texts=%d dimension=%d seconds=%.1f",
            *self._vector.shape,
            time.perf_counter() - begun,
        )

    def __getitem__(self, rows: Int64[np.ndarray, " n"] | slice) -> Float[Tensor, "n E"]:
        return self._vector[torch.from_numpy(self._row[rows])]


def _fit(
    tower: QueryTower,
    item: Tensor,
    user: Tensor,
    given: Examples,
    settings: QueryFitSettings,
    scored: Scored,
    rng: np.random.Generator,
) -> float:
    """Trains the tower; gives the mean loss of the last epoch."""
    texts = encode_texts(given.texts, settings.model.buckets, settings.model.max_words)
    meant = None if tower.backbone is None else _Embedded(tower.backbone, given.texts, settings)
    every = None if meant is None else meant[:]
    tower.begin_at(TextTensors.of(texts), item[torch.from_numpy(given.item_row)], every)
    _begin_beside(tower, item, user, given, texts, meant, settings, scored)
    table = [tower.gram.weight]
    others = [one for one in tower.parameters() if one is not table[0]]
    optimizers = [
        torch.optim.SparseAdam(table, lr=settings.learning_rate),
        torch.optim.AdamW(others, lr=settings.learning_rate, weight_decay=0.01),
    ]
    num_steps = settings.epochs * -(-len(given) // settings.batch)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(one, settings.learning_rate, num_steps, pct_start=0.1)
        for one in optimizers
    ]
    mean = 0.0
    for _ in range(settings.epochs):
        losses = []
        for rows in np.array_split(rng.permutation(len(given)), -(-len(given) // settings.batch)):
            read, among = TextTensors.of(texts.select(rows)), scored.draw(given.item_row[rows], rng)
            embedded = None if meant is None else meant[rows]
            loss = _loss(tower, item, user, given, read, embedded, rows, among, settings.model.temperature)
            for one in optimizers:
                one.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for one, schedule in zip(optimizers, schedules, strict=True):
                one.step()
                schedule.step()
            losses.append(loss.item())
        mean = float(np.mean(losses))
    return mean


@torch.no_grad()
def _begin_beside(
    tower: QueryTower,
    item: Tensor,
    user: Tensor,
    given: Examples,
    texts: AskedTexts,
    meant: _Embedded | None,
    settings: QueryFitSettings,
    scored: Scored,
) -> None:
    """Makes what a backbone adds at first as large as leaves the loss no higher than it is without.

    Of a sample of texts, each scored among the same titles. What draws is not that of the training.
    """
    if tower.beside is None or meant is None:
        return
    rng = np.random.default_rng(len(given))
    rows = rng.permutation(len(given))[:_SAMPLED]
    read, among = TextTensors.of(texts.select(rows)), scored.draw(given.item_row[rows], rng)
    begun = [value.clone() for value in tower.beside.parameters()]
    losses = []
    tower.eval()
    for size in (0.0, *_SIZES, 0.0):
        for value, whole in zip(tower.beside.parameters(), begun, strict=True):
            value.copy_(size * whole)
        losses.append(
            _loss(tower, item, user, given, read, meant[rows], rows, among, settings.model.temperature).item()
        )
        if len(losses) > 1 and losses[-1] <= losses[0]:
            break
    tower.train()
    log.info("backbone begins size=%.2f loss=%.3f without=%.3f", size, losses[-1], losses[0])


def _loss(
    tower: QueryTower,
    item: Tensor,
    user: Tensor,
    given: Examples,
    texts: TextTensors,
    embedded: Tensor | None,
    rows: np.ndarray,
    scored: tuple[np.ndarray, np.ndarray],
    temperature: float,
) -> Tensor:
    """Softmax over titles, of texts alone and of those that somebody asks: the sum of both means."""
    among, added = torch.from_numpy(scored[0]), torch.from_numpy(scored[1])
    target = torch.from_numpy(np.searchsorted(scored[0], given.item_row[rows]))
    if len(among) < len(item):
        item = item[among]
    vector, gate = tower(texts, embedded)
    loss = F.cross_entropy(vector @ item.T / temperature + added, target)
    asker = torch.from_numpy(given.asker[rows])
    asked = asker != NOBODY
    if asked.any():
        score = together(vector[asked], gate[asked], user[asker[asked]]) @ item.T
        best = score.amax(1) if score.ndim == 3 else score
        loss = loss + F.cross_entropy(best / temperature + added, target[asked])
    return loss
