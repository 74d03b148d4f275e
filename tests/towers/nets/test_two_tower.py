import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worlds import block_world
from towers.data.batches import query_batch
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.feature_encoder import fit_features
from towers.data.features import FeatureSettings
from towers.data.histories import Histories
from towers.data.schema import ITEMS, table
from towers.errors import ConfigError, MissingDataError, ReleaseError
from towers.nets.two_tower import ModelSettings, TwoTower, fingerprint, load_towers, save_towers
from towers.recommender import Queries

SMALL = ModelSettings(dim=16, num_layers=2, num_heads=2, max_history=6)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return dataset_from_tables(block_world(3, 8, 4, 6, seed=0))


@pytest.fixture(scope="module")
def towers(dataset: Dataset) -> TwoTower:
    torch.manual_seed(0)
    encoder = fit_features(dataset.items, dataset.profile_table, FeatureSettings())
    return TwoTower(SMALL, encoder).eval()


def queries_of(dataset: Dataset, history: Histories | None = None) -> Queries:
    history = dataset.history if history is None else history
    country = np.resize(dataset.country, len(history))
    return Queries(history, np.full(len(history), 2**31), country)


def item_vectors(dataset: Dataset, towers: TwoTower) -> torch.Tensor:
    return torch.from_numpy(towers.embed(towers.encoder.encode(dataset.items)))


def test_all_vectors_have_unit_length(dataset: Dataset, towers: TwoTower) -> None:
    item = item_vectors(dataset, towers)
    query = towers.encode(queries_of(dataset), item)
    np.testing.assert_allclose(np.linalg.norm(item.numpy(), axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(query, axis=1), 1.0, atol=1e-5)


def test_a_position_reads_nothing_after_it(dataset: Dataset, towers: TwoTower) -> None:
    item = item_vectors(dataset, towers)
    asked = np.full(len(dataset.history), 2**31)
    profiles = towers.encoder.encode_profiles(dataset.profile_table, dataset.country)
    batch = query_batch(dataset.history, asked, profiles, 6)
    changed = query_batch(dataset.history, asked, profiles, 6)
    # Six events a window, packed one after another.
    changed.item_row.view(-1, 6)[:, 4:] = (changed.item_row.view(-1, 6)[:, 4:] + 1) % len(item)
    changed.minutes.view(-1, 6)[:, 4:] = 1.0
    with torch.inference_mode():
        before, after = towers(batch, item), towers(changed, item)
    torch.testing.assert_close(before[:, :5], after[:, :5], atol=1e-6, rtol=0)
    assert (before[:, 5:] - after[:, 5:]).abs().max() > 1e-3


def test_a_query_is_encoded_the_same_alone_and_among_longer_ones(dataset: Dataset, towers: TwoTower) -> None:
    item = item_vectors(dataset, towers)
    lengths = np.array([0, 1, 3, 6, 2, 5, 4, 6, 1, 0, 6, 2])
    history = dataset.history.first(lengths)
    together = towers.encode(queries_of(dataset, history), item)
    for row in range(len(history)):
        alone = towers.encode(
            queries_of(dataset).__class__(
                history.select(np.array([row])), np.array([2**31]), dataset.country[[row]]
            ),
            item,
        )
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_only_the_last_events_are_read(dataset: Dataset, towers: TwoTower) -> None:
    item = item_vectors(dataset, towers)
    history = dataset.history
    twice = Histories(
        np.array([0, 12]),
        np.concatenate([history.item_row[6:12], history.item_row[:6]]),
        np.concatenate([history.time_seconds[:6] - 10**6, history.time_seconds[:6]]),
        np.concatenate([history.minutes[6:12], history.minutes[:6]]),
    )
    other = Histories(twice.offset, twice.item_row.copy(), twice.time_seconds, twice.minutes)
    other.item_row[:5] = 0
    one = towers.encode(queries_of(dataset, twice), item)
    np.testing.assert_array_equal(one, towers.encode(queries_of(dataset, other), item))


def test_without_history_only_the_country_counts(dataset: Dataset, towers: TwoTower) -> None:
    item = item_vectors(dataset, towers)
    known = dataset.country[0]
    asked = Queries(Histories.empty(3), np.zeros(3, np.int64), np.array([known, known, "XX"]))
    vectors = towers.encode(asked, item)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-4


def test_no_queries_give_no_vectors(dataset: Dataset, towers: TwoTower) -> None:
    asked = Queries(Histories.empty(0), np.zeros(0, np.int64), np.zeros(0, "<U2"))
    assert towers.encode(asked, item_vectors(dataset, towers)).shape == (0, 16)


def test_an_unknown_title_is_embedded_from_its_metadata(dataset: Dataset, towers: TwoTower) -> None:
    known = dataset.items.slice(0, 1).to_pylist()[0]
    columns: dict[str, object] = {name: [value] for name, value in known.items()}
    fresh = table(ITEMS, columns | {"item_id": ["fresh"]})
    bare = table(ITEMS, {"item_id": ["bare"], "title": ["Bare"]})
    vector = towers.embed(towers.encoder.encode(fresh))[0]
    assert np.isfinite(towers.embed(towers.encoder.encode(bare))).all()
    original = item_vectors(dataset, towers)[0].numpy()
    other = towers.embed(towers.encoder.encode(bare))[0]
    assert vector @ original > other @ original


def test_an_export_comes_back_the_same(dataset: Dataset, towers: TwoTower, tmp_path: Path) -> None:
    save_towers(towers, tmp_path)
    again = load_towers(tmp_path)
    item = item_vectors(dataset, towers)
    np.testing.assert_array_equal(item.numpy(), item_vectors(dataset, again).numpy())
    asked = queries_of(dataset)
    np.testing.assert_array_equal(towers.encode(asked, item), again.encode(asked, item))


def test_a_fingerprint_tells_two_towers_apart(dataset: Dataset, towers: TwoTower, tmp_path: Path) -> None:
    save_towers(towers, tmp_path / "one")
    save_towers(towers, tmp_path / "copy")
    torch.manual_seed(1)
    save_towers(TwoTower(SMALL, towers.encoder), tmp_path / "other")
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "copy")
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "other")


def test_a_missing_a_newer_and_a_mismatched_export_are_refused(towers: TwoTower, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"train\.py"):
        load_towers(tmp_path)
    save_towers(towers, tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(description | {"format_version": 99}))
    with pytest.raises(ReleaseError, match=r"format_version is 99; expected 2, which scripts/train"):
        load_towers(tmp_path)
    description["settings"]["num_layers"] = 1
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ReleaseError, match=r"towers\.safetensors"):
        load_towers(tmp_path)


def test_a_width_that_the_heads_cannot_share_is_refused(towers: TwoTower) -> None:
    with pytest.raises(ConfigError, match=r"model\.dim: 18"):
        TwoTower(ModelSettings(dim=18, num_heads=4), towers.encoder)


def test_weights_that_are_not_there_are_named_with_what_to_do(towers: TwoTower, tmp_path: Path) -> None:
    save_towers(towers, tmp_path)
    (tmp_path / "towers.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"towers\.safetensors: .*scripts/train\.py"):
        load_towers(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "towers.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_named(
    name: str, share: float, towers: TwoTower, tmp_path: Path
) -> None:
    save_towers(towers, tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ReleaseError, match=rf"^{tmp_path / name}: .*expected"):
        load_towers(tmp_path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"\xff", b"null"])
def test_a_description_that_is_no_json_object_is_refused(
    content: bytes, towers: TwoTower, tmp_path: Path
) -> None:
    save_towers(towers, tmp_path)
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"model\.json: .*expected"):
        load_towers(tmp_path)


GONE = object()


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (("settings",), GONE, "has no 'settings'"),
        (("settings",), [], "settings: list"),
        (("settings", "depth"), 3, "'depth'"),
        (("settings", "dim"), GONE, "settings: "),
        (("settings", "dim"), "16", r"settings\.dim: '16'; expected int"),
        (("settings", "dim"), 18, r"model\.dim: 18"),
        (("settings", "dropout"), 2.0, r"settings\.dropout: 2\.0 is out of range"),
        (("encoder",), GONE, "has no 'encoder'"),
        (("encoder",), None, "NoneType"),
        (("encoder", "profiles"), GONE, "has no 'profiles'"),
        (("encoder", "items", "scales"), {}, "features.items: fitted are"),
        (("encoder", "items", "scales", "rating"), [1.0], "not enough values"),
        (("encoder", "items", "vocabularies"), [], "'list'|features.items: fitted are"),
        (("encoder", "items", "vocabularies", "genres"), ["a", "a"], "more than once"),
        (("encoder", "items", "features", 0, "kind"), "lottery", r"features\.items\[0\]\.kind: 'lottery'"),
        (("encoder", "items", "features", 1, "rule"), GONE, r"features\.items\[1\]: "),
        (("encoder", "items", "features", 1, "column"), "cost", r"features\.items\[1\]\.column: 'cost'"),
        (("encoder", "profiles", "features", 0, "column"), "profile_id", r"features\.profiles\[0\]\.column"),
    ],
)
def test_a_description_with_a_damaged_part_is_refused(
    keys: tuple[str | int, ...], value: object, complaint: str, towers: TwoTower, tmp_path: Path
) -> None:
    save_towers(towers, tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    part = description
    for key in keys[:-1]:
        part = part[key]
    if value is GONE:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ReleaseError, match=rf"^{tmp_path}/model\.json: .*({complaint}).*expected"):
        load_towers(tmp_path)
