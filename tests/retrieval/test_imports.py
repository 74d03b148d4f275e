"""What serving loads, and what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

_TRAINING_STACK = ("lightning", "pytorch_lightning", "hydra", "omegaconf", "polars")
_BACKBONE = ("sentence_transformers", "transformers", "tokenizers")
_SERVING = "from retrieval import Retriever; import retrieval.release.build, retrieval.terminal"


def _loaded_by(statement: str) -> set[str]:
    printed = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in printed.stdout.split()}


def test_serving_and_building_load_no_training_stack() -> None:
    loaded = _loaded_by(_SERVING)
    assert {"torch", "faiss", "pyarrow"} <= loaded
    assert not loaded & {*_TRAINING_STACK, *_BACKBONE}


def test_the_package_and_the_release_store_start_without_torch_and_faiss() -> None:
    loaded = _loaded_by("import retrieval, retrieval.release.store, retrieval.release.remote.pull")
    assert not loaded & {"torch", "faiss", "pyarrow", "fsspec", *_TRAINING_STACK}


def test_an_unknown_name_is_an_attribute_error() -> None:
    import retrieval

    with pytest.raises(AttributeError, match="has no attribute 'Retriver'"):
        retrieval.Retriver  # noqa: B018
