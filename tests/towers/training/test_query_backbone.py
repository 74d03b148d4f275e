"""A query tower with a backbone finds what only the backbone knows, and begins no worse than without."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.backbones import MEANINGS
from tests.worlds import START_SECONDS, block_of, block_world
from towers.data.asked_texts import encode_texts, plain_texts
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.schema import QUERIES, TIME, table
from towers.data.split import Split, SplitSettings, split
from towers.nets.backbone import Backbone, open_backbone
from towers.nets.query_tower import (
    QueryTower,
    QueryTowerSettings,
    TextTensors,
    load_query_tower,
    save_query_tower,
)
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.query_fit import fit_query_tower
from towers.training.query_settings import QueryFitSettings

BLOCKS, ITEMS = len(MEANINGS), 12
SETTINGS = QueryFitSettings(
    QueryTowerSettings(buckets=4096), epochs=8, texts_per_title=5, batch=64, learning_rate=1e-2
)
UNSEEN = [group[-1] for group in MEANINGS]
"""Of each block a word that no search of the log has, and that means what others of the log do."""


@pytest.fixture(scope="module")
def backbone(backbone_folder: Path) -> Backbone:
    return open_backbone(backbone_folder, 16)


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split, TwoTower]:
    dataset = dataset_from_tables(block_world(BLOCKS, ITEMS, 6, 8, seed=0))
    parts = split(dataset, SplitSettings())
    torch.manual_seed(0)
    towers = TwoTower(ModelSettings(dim=16), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    return dataset, parts, towers.eval()


def searches() -> pa.Table:
    """For each title of a block by each word of its meaning but the last."""
    asked = [(word, row) for row in range(BLOCKS * ITEMS) for word in MEANINGS[row % BLOCKS][:-1]]
    time = pa.array([1000 * START_SECONDS] * len(asked), TIME)
    text, item = [word for word, _ in asked], [f"i{row}" for _, row in asked]
    return table(QUERIES, {"profile_id": [None] * len(asked), "text": text, "time": time, "item_id": item})


@torch.inference_mode()
def vectors(tower: QueryTower, texts: list[str]) -> np.ndarray:
    settings = tower.settings
    read = TextTensors.of(encode_texts(texts, settings.buckets, settings.max_words))
    embedded = None
    if tower.backbone is not None:
        embedded = torch.from_numpy(tower.backbone.embed(plain_texts(texts, settings.max_words)))
    found: np.ndarray = tower(read, embedded)[0].numpy()
    return found


def found(tower: QueryTower | None, world: tuple[Dataset, Split, TwoTower], texts: list[str]) -> float:
    """The share of the nearest titles of each block's text that are of that block: a quarter by chance."""
    assert tower is not None
    dataset, _, towers = world
    item = towers.embed(towers.encoder.encode(dataset.items))
    best = np.argsort(-(vectors(tower, texts) @ item.T), axis=1)[:, :ITEMS]
    return float((block_of(best, BLOCKS) == np.arange(BLOCKS)[:, None]).mean())


def test_what_means_the_same_as_what_was_asked_is_found_with_a_backbone_alone(
    world: tuple[Dataset, Split, TwoTower], backbone_folder: Path
) -> None:
    with_backbone = replace(SETTINGS, backbone=str(backbone_folder))
    plain, meaning = (
        fit_query_tower(*reversed_of(world), searches(), settings, seed=0)
        for settings in (SETTINGS, with_backbone)
    )
    asked = [group[0] for group in MEANINGS]
    assert min(found(plain, world, asked), found(meaning, world, asked)) >= 0.9
    assert found(plain, world, UNSEEN) <= 0.5
    assert found(meaning, world, UNSEEN) >= 0.9


def test_training_begins_no_worse_than_without(
    world: tuple[Dataset, Split, TwoTower], backbone_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A hundred thousand steps of this size would move nothing: the tower is as it begins.
    still = replace(SETTINGS, epochs=1, learning_rate=1e-12)
    losses = []
    for folder in (None, str(backbone_folder)):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="towers.training.query_fit"):
            fit_query_tower(*reversed_of(world), searches(), replace(still, backbone=folder), seed=1)
        (said,) = (each.getMessage() for each in caplog.records if "query tower trained" in each.getMessage())
        losses.append(float(said.split("loss=")[1].split()[0]))
    assert losses[1] <= losses[0] + 0.01  # other words are left out by each step's dropout


def reversed_of(world: tuple[Dataset, Split, TwoTower]) -> tuple[TwoTower, Dataset, Split]:
    dataset, parts, towers = world
    return towers, dataset, parts


def test_it_begins_at_the_least_squares_of_what_half_of_the_words_leaves(backbone: Backbone) -> None:
    torch.manual_seed(1)
    texts = [" ".join(np.random.default_rng(row).permutation(sum(MEANINGS, ()))[:3]) for row in range(60)]
    read = TextTensors.of(encode_texts(texts, 4096, 24))
    item, embedded = torch.randn(60, 8), torch.from_numpy(backbone.embed(texts))
    plain, beside = (QueryTower(SETTINGS.model, 8, given) for given in (None, backbone))
    for tower in (plain, beside):
        tower.begin_at(read, item, embedded)
    # Before anything is learned a text is the mean of its words, and a word that of its n-grams.
    table, grams = plain.gram.weight.detach().numpy(), np.split(read.bucket.numpy(), read.gram_offset[1:-1])
    each = np.stack([table[bucket].mean(0) for bucket in grams])
    words = np.stack([each[read.text.numpy() == row].mean(0) for row in range(60)])
    left = item.numpy() - item.numpy().mean(0) - words
    wanted = left + words / 2
    # By the normal equations with a column of ones, which the penalty leaves alone.
    wide = np.concatenate([embedded.numpy(), np.ones((60, 1))], axis=1).astype(np.float64)
    penalty = np.diag([0.1 * 60 * embedded.numpy().var(axis=0).mean()] * backbone.dim + [0.0])
    expected = np.linalg.solve(wide.T @ wide + penalty, wide.T @ wanted)
    assert beside.beside is not None
    np.testing.assert_allclose(beside.beside.weight.detach().numpy().T, expected[:-1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(beside.beside.bias.detach().numpy(), expected[-1], rtol=1e-3, atol=1e-4)
    assert beside.training  # as it was


def test_what_is_saved_with_its_backbone_is_read_back(backbone: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(2)
    tower = QueryTower(SETTINGS.model, 8, backbone).eval()
    with torch.no_grad():
        for weight in tower.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    save_query_tower(tower, tmp_path, "abc")
    again = load_query_tower(tmp_path, "abc")
    assert again is not None
    np.testing.assert_allclose(vectors(again, UNSEEN), vectors(tower, UNSEEN), atol=1e-6)
    assert again.backbone is not None
    assert again.backbone.fingerprint == backbone.fingerprint
