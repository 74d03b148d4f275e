"""The query tower: what it starts from, how it joins text and profile, and its files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from towers.data.asked_texts import encode_texts
from towers.errors import MissingDataError, ReleaseError
from towers.nets.query_tower import (
    QueryTower,
    QueryTowerSettings,
    TextTensors,
    load_query_tower,
    query_fingerprint,
    save_query_tower,
    together,
)
from towers.nets.unit import unit

SETTINGS = QueryTowerSettings(buckets=4096, max_words=8, dropout=0.0)


def read(*texts: str) -> TextTensors:
    return TextTensors.of(encode_texts(list(texts), SETTINGS.buckets, SETTINGS.max_words))


def tower_of(seed: int = 0, dim: int = 8) -> QueryTower:
    """A tower in which every weight says something."""
    torch.manual_seed(seed)
    tower = QueryTower(SETTINGS, dim)
    with torch.no_grad():
        for weight in tower.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return tower.eval()


def test_texts_are_read_each_by_itself() -> None:
    tower, texts = (
        tower_of(),
        ["star wars", "", "amélie", "a very long text of more words than are read here"],
    )
    vector, gate = tower(read(*texts))
    for place, text in enumerate(texts):
        alone, own_gate = tower(read(text))
        torch.testing.assert_close(vector[place], alone[0])
        torch.testing.assert_close(gate[place], own_gate[0])
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(4))
    assert (gate > 0).all()


def test_the_order_of_words_counts() -> None:
    vector, _ = tower_of()(read("man spider", "spider man"))
    assert not torch.allclose(vector[0], vector[1], atol=1e-3)


def test_it_begins_where_the_titles_lie_that_a_word_asks_for() -> None:
    tower = QueryTower(SETTINGS, 3).eval()
    item = torch.eye(3)
    tower.begin_at(read("alpha", "beta", "gamma"), item)
    vector, _ = tower(read("alpha", "beta", "gamma", "alphaa"))
    assert (vector[:3] @ item.T).argmax(1).tolist() == [0, 1, 2]
    assert int((vector[3] @ item.T).argmax()) == 0  # mistyped, it shares n-grams still
    unknown, _ = tower(read("zzzzz"))
    torch.testing.assert_close(unknown[0], unit(torch.ones(3)))  # the middle of all


def test_without_a_gate_it_is_the_text_and_without_a_text_the_profile() -> None:
    text, user = unit(torch.randn(4, 6)), unit(torch.randn(4, 6))
    torch.testing.assert_close(together(text, torch.zeros(4), user), text)
    torch.testing.assert_close(together(torch.zeros(4, 6), torch.ones(4), user), user)
    interests = unit(torch.randn(4, 2, 6))
    both = together(text, torch.full((4,), 0.5), interests)
    torch.testing.assert_close(both[:, 1], together(text, torch.full((4,), 0.5), interests[:, 1]))


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    tower = tower_of()
    save_query_tower(tower, tmp_path, "abc")
    found = load_query_tower(tmp_path, "abc")
    assert found is not None
    for mine, theirs in zip(tower(read("star wars")), found(read("star wars")), strict=True):
        assert torch.equal(mine, theirs)
    assert load_query_tower(tmp_path / "nothing", "abc") is None


def test_equal_fingerprints_are_the_same_query_tower(tmp_path: Path) -> None:
    prints = []
    for place, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(place)
        folder.mkdir()
        save_query_tower(tower_of(seed), folder, "abc")
        prints.append(query_fingerprint(folder))
    assert prints[0] == prints[1] != prints[2]


def test_a_query_tower_of_other_towers_is_refused(tmp_path: Path) -> None:
    save_query_tower(tower_of(), tmp_path, "abc")
    with pytest.raises(ReleaseError, match="fitted to the item vectors of the towers 'abc'; expected 'abd'"):
        load_query_tower(tmp_path, "abd")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    save_query_tower(tower_of(), tmp_path, "abc")
    path, weights = tmp_path / "query.json", tmp_path / "query.safetensors"
    whole = json.loads(path.read_text())
    for change, said in (
        ({"format_version": 9}, "format_version is 9"),
        ({"settings": {}}, "settings"),
        ({"dimension": None}, "dimension"),
        ({"dimension": 9}, "expected the weights of query.json"),
    ):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(ReleaseError, match=said):
            load_query_tower(tmp_path, "abc")
    path.write_text(json.dumps(whole))
    kept = load_file(weights)
    save_file({name: kept[name] for name in list(kept)[1:]}, weights)
    with pytest.raises(ReleaseError, match="expected the weights"):
        load_query_tower(tmp_path, "abc")
    weights.unlink()
    with pytest.raises(MissingDataError, match=r"query\.safetensors: no weights"):
        load_query_tower(tmp_path, "abc")


def test_nothing_of_a_text_is_written_down(tmp_path: Path) -> None:
    tower = QueryTower(SETTINGS, 3)
    tower.begin_at(read("verysecretword"), torch.ones(1, 3))
    save_query_tower(tower, tmp_path, "abc")
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes()


def test_the_bucket_of_a_word_is_the_same_for_titles_and_queries() -> None:
    one, other = (encode_texts([text], 4096, 8) for text in ("Amélie", "amelie"))
    np.testing.assert_array_equal(one.bucket, other.bucket)
