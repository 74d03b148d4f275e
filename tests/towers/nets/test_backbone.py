"""The backbone reads texts as its libraries do, from its own files, and refuses what could run code."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.backbones import HIDDEN, MEANINGS, POSITIONS
from towers.errors import ConfigError, MissingDataError, MissingExtraError
from towers.nets import backbone as module
from towers.nets.backbone import Backbone, check_backbone, open_backbone
from towers.nets.backbone_files import files_of_folder

TEXTS = ["rocket", "a murder in the kitchen", "galaxy galaxy planet", "", "never heard of", "chef"]


@pytest.fixture(scope="module")
def backbone(backbone_folder: Path) -> Backbone:
    return open_backbone(backbone_folder, 64)


@pytest.fixture
def copy(backbone_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(backbone_folder, tmp_path / "model"))


@torch.inference_mode()
def pooled(folder: Path, text: str, most: int) -> np.ndarray:
    """By transformers alone: the mean of the last layer over all tokens of one text, of unit length."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    token = tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    mean = model(**token).last_hidden_state[0].mean(0).numpy()
    found: np.ndarray = mean / np.linalg.norm(mean)
    return found


def test_texts_are_embedded_as_transformers_itself_would(backbone_folder: Path, backbone: Backbone) -> None:
    assert backbone.dim == HIDDEN
    expected = np.stack([pooled(backbone_folder, text, POSITIONS) for text in TEXTS])
    np.testing.assert_allclose(backbone.embed(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(
        backbone.embed(TEXTS, batch=4), expected, atol=1e-5
    )  # padded, and out of order
    long = "chef " * 100
    np.testing.assert_allclose(backbone.embed([long])[0], pooled(backbone_folder, long, POSITIONS), atol=1e-5)
    few = open_backbone(backbone_folder, 4).embed([long])[0]
    np.testing.assert_allclose(few, pooled(backbone_folder, long, 4), atol=1e-5)


def test_the_model_of_the_tests_knows_what_words_mean(backbone: Backbone) -> None:
    vector = backbone.embed([word for group in MEANINGS for word in group]).reshape(len(MEANINGS), -1, HIDDEN)
    alike = np.einsum("gwd,hvd->ghwv", vector, vector)
    own = np.eye(len(MEANINGS), dtype=bool)
    assert alike[own].min() > alike[~own].max()


def test_reading_it_asks_no_network_and_leaves_what_the_process_had_set(
    backbone_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    def refuse(*_: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = constants.is_offline_mode()
    open_backbone(backbone_folder, 64).embed(["rocket"])
    assert constants.is_offline_mode() == before


def test_its_weights_are_its_own_once_it_is_open(copy: Path) -> None:
    opened = open_backbone(copy, 64)
    before = opened.embed(["rocket"])
    size = (copy / "model.safetensors").stat().st_size
    with (copy / "model.safetensors").open("r+b") as file:
        file.write(bytes(size))
    np.testing.assert_array_equal(opened.embed(["rocket"]), before)


def test_equal_fingerprints_are_the_same_files(copy: Path, backbone: Backbone) -> None:
    (copy / "README.md").write_text("what people read is no part of a model")
    assert files_of_folder(copy).fingerprint() == backbone.fingerprint
    (copy / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": HIDDEN, "pooling_mode": "cls"})
    )
    assert files_of_folder(copy).fingerprint() != backbone.fingerprint


def _changed(name: str, **values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def _module(kind: str, path: str = "") -> Callable[[Path], object]:
    return lambda folder: (folder / "modules.json").write_text(json.dumps([{"type": kind, "path": path}]))


def _file(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_file("pytorch_model.bin"), r"holds pytorch_model\.bin; expected weights in \*\.safetensors"),
        (_file("1_Pooling/weights.pt"), r"holds 1_Pooling/weights\.pt; expected weights"),
        (_file("state.pkl"), r"holds state\.pkl; .* save the model anew by SentenceTransformer"),
        (_file("modeling_own.py"), r"holds modeling_own\.py; .* nothing is unpickled or executed"),
        (_changed("config.json", auto_map={"AutoModel": "modeling_own.Own"}), r"config\.json: auto_map is"),
        (_changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}), "auto_map is"),
        (_changed("config.json", deeper=[{"trust_remote_code": True}]), "trust_remote_code is 'True'"),
        (_changed("config.json", attn_implementation="someone/kernel"), "attn_implementation is"),
        (_changed("sentence_bert_config.json", model_args={"a": 1}), "model_args is"),
        (
            _changed("sentence_bert_config.json", modality_config={"text": {"method": "push_to_hub"}}),
            "method is 'push_to_hub'",
        ),
        (_module("own_package.Pooling"), r"a module of the type 'own_package\.Pooling'; expected some of"),
        (_module("sentence_transformers.base.model.torch"), "a module of the type"),
        (_module("sentence_transformers.models.Pooling", "../outside"), r"a module at '\.\./outside'"),
        (_module("sentence_transformers.models.Transformer.Pooling"), "ImportError: Module"),
        (lambda folder: (folder / "modules.json").write_text("[]"), "holds no modules"),
        (lambda folder: (folder / "modules.json").write_text("["), r"modules\.json: .*; expected JSON"),
        (lambda folder: (folder / "modules.json").unlink(), r"no modules\.json; expected that of"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights; expected a"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"no"),
            "expected a sentence-transformers",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "expected a whole model"),
        (lambda folder: (folder / "2_More").symlink_to("/tmp"), "2_More is a link to a folder"),
    ],
)
def test_a_folder_that_could_run_code_or_is_no_model_is_refused(
    copy: Path, change: Callable[[Path], object], said: str
) -> None:
    change(copy)
    with pytest.raises(ConfigError, match=rf"query_tower\.backbone: {copy}: .*{said}"):
        open_backbone(copy, 64)


def test_a_folder_that_is_not_there_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"query_tower\.backbone: .*/none: no such folder; expected"):
        check_backbone(tmp_path / "none")


def test_without_the_extra_what_to_install_is_told(
    backbone_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LIBRARY", "no_such_library")
    for opening in (check_backbone, lambda folder: open_backbone(folder, 64)):
        with pytest.raises(MissingExtraError, match=r"pip install 'two-tower-retrieval\[text\]'"):
            opening(backbone_folder)
