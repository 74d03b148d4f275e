"""Fits the query tower to the item vectors of towers that are trained; these stay as they are."""

import logging
import time

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from towers.data.asked_texts import encode_texts
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.nets.query_tower import QueryTower, TextTensors, together
from towers.nets.two_tower import TwoTower
from towers.settings import check_ranges
from towers.training.query_examples import NOBODY, Examples, examples
from towers.training.query_negatives import Scored
from towers.training.query_settings import QueryFitSettings

log = logging.getLogger(__name__)


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
    """
    check_ranges(settings, "query_tower")
    if settings.epochs == 0:
        return None
    begun = time.perf_counter()
    given = examples(dataset, split, queries, settings, seed)
    vectors = towers.embed(towers.encoder.encode(dataset.items))
    item = torch.from_numpy(vectors)
    # What inference made has no place in a gradient; a copy has.
    user = torch.from_numpy(towers.encode(given.questions, item)).clone()
    torch.manual_seed(seed)
    tower = QueryTower(settings.model, vectors.shape[1])
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
    tower.begin_at(TextTensors.of(texts), item[torch.from_numpy(given.item_row)])
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
            loss = _loss(tower, item, user, given, read, rows, among, settings.model.temperature)
            for one in optimizers:
                one.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for one, schedule in zip(optimizers, schedules, strict=True):
                one.step()
                schedule.step()
            losses.append(loss.item())
        mean = float(np.mean(losses))
    return mean


def _loss(
    tower: QueryTower,
    item: Tensor,
    user: Tensor,
    given: Examples,
    texts: TextTensors,
    rows: np.ndarray,
    scored: tuple[np.ndarray, np.ndarray],
    temperature: float,
) -> Tensor:
    """Softmax over titles, of texts alone and of those that somebody asks: the sum of both means."""
    among, added = torch.from_numpy(scored[0]), torch.from_numpy(scored[1])
    target = torch.from_numpy(np.searchsorted(scored[0], given.item_row[rows]))
    if len(among) < len(item):
        item = item[among]
    vector, gate = tower(texts)
    loss = F.cross_entropy(vector @ item.T / temperature + added, target)
    asker = torch.from_numpy(given.asker[rows])
    asked = asker != NOBODY
    if asked.any():
        score = together(vector[asked], gate[asked], user[asker[asked]]) @ item.T
        best = score.amax(1) if score.ndim == 3 else score
        loss = loss + F.cross_entropy(best / temperature + added, target[asked])
    return loss
