"""Checkpoint files: whole, sealed, and refused where they are not what was written."""

import hashlib
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.forked import run_program
from tests.towers.training.worlds import MANY_STEPS, block_split
from towers.errors import TrainingError
from towers.training.checkpoints import SealedCheckpoints
from towers.training.fit import fit_towers

STATE: dict[str, Any] = {"weight": torch.arange(1000.0), "step": 3, "names": ["a", "b"]}


def written(folder: Path) -> Path:
    path = folder / "last.ckpt"
    SealedCheckpoints().save_checkpoint(STATE, path)
    return path


def test_a_checkpoint_is_read_as_it_was_written_by_us_and_by_torch(tmp_path: Path) -> None:
    path = written(tmp_path)
    for read in (SealedCheckpoints().load_checkpoint(path), torch.load(path, weights_only=True)):
        assert torch.equal(read["weight"], STATE["weight"])
        assert (read["step"], read["names"]) == (3, ["a", "b"])
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_seal_is_the_hash_of_all_before_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        seal = archive.comment
        assert archive.testzip() is None
    assert content.endswith(seal)
    assert seal == b"sha256:" + hashlib.sha256(content.removesuffix(seal)).hexdigest().encode()


@given(where=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_any_bit_that_is_turned_is_found(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    path = written(tmp_path_factory.mktemp("turned"))
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"last\.ckpt: .*expected a checkpoint as it was written"):
        SealedCheckpoints().load_checkpoint(path)


@pytest.mark.parametrize("num_bytes", [0, 1, 71, 72, 1000, -1])
def test_a_file_that_was_cut_short_is_found(tmp_path: Path, num_bytes: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(TrainingError, match="does not end with its SHA-256"):
        SealedCheckpoints().load_checkpoint(path)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_nothing_in_a_checkpoint_runs_though_its_seal_is_right(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    SealedCheckpoints().save_checkpoint({"state": Malicious(tmp_path / "mark")}, path)
    with pytest.raises(pickle.UnpicklingError):
        # Whoever asks for more is not given it.
        SealedCheckpoints().load_checkpoint(path, weights_only=False)
    assert not (tmp_path / "mark").exists()


def test_a_full_disk_leaves_the_older_checkpoint_whole(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()
    # A limit on the size of a file fails a write as a full disk does: part of it is written, then OSError.
    program = (
        "import sys, torch; from towers.training.checkpoints import SealedCheckpoints;"
        "SealedCheckpoints().save_checkpoint({'weight': torch.zeros(100_000)}, sys.argv[1])"
    )
    limited = run_program(program, str(path), most_bytes_per_file=50_000)
    assert "StorageError" in limited.stderr
    assert "last.ckpt: no room for a checkpoint; the one before stays" in limited.stderr
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_run_does_not_go_on_without_its_best_epoch(tmp_path: Path) -> None:
    world = block_split()
    one = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, max_epochs=1))
    fit_towers(*world, one, tmp_path)
    (tmp_path / "best.ckpt").unlink()
    resuming = replace(one, trainer=replace(one.trainer, max_epochs=2, resume=True))
    with pytest.raises(TrainingError, match=r"best\.ckpt: no such file beside last\.ckpt, .*expected both"):
        fit_towers(*world, resuming, tmp_path)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_run_does_not_go_on_from_a_damaged_checkpoint_and_names_it(tmp_path: Path, name: str) -> None:
    world = block_split()
    one = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, max_epochs=1))
    fit_towers(*world, one, tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    resuming = replace(one, trainer=replace(one.trainer, max_epochs=2, resume=True))
    with pytest.raises(TrainingError, match=rf"{name}: has the SHA-256 \w+, .*trainer\.resume=false"):
        fit_towers(*world, resuming, tmp_path)
    anew = replace(one, trainer=replace(one.trainer, resume=False))
    fit_towers(*world, anew, tmp_path)
