"""The kernels beside brute force in float64: interpreted where Triton is installed, compiled on a GPU."""

import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.index.groups import GROUP, PLACES, TILE

ROOT = Path(__file__).resolve().parents[3]
TRITON = tuple(map(int, version("triton").split(".")[:2])) if find_spec("triton") else (0, 0)
CASES = (
    # queries, items, d, tiles per block
    (1, 1, 8, 4),
    (16, 128, 16, 16),  # one whole tile
    (17, 1_000, 64, 2),  # blocks in several parts
    (70, 700, 128, 4),
    (130, 300, 256, 64),  # a block that is mostly empty
    (260, 400, 104, 64),
)


def of_rows(row: np.ndarray) -> np.ndarray:
    """The group of each row, by the layout's definition."""
    numbers: np.ndarray = row // TILE * PLACES + row % 8 // 2
    return numbers


def drawn(queries: int, items: int, dim: int, tiles_per_block: int) -> dict[str, np.ndarray]:
    """Numbers that bfloat16 holds, mostly negative scores among them."""
    rng = np.random.default_rng(queries + items)
    query, item = (
        torch.from_numpy(rng.standard_normal((size, dim)).astype(np.float32)).bfloat16().float().numpy()
        for size in (queries, items)
    )
    query[0] = -np.abs(query[0])
    num_groups = int(of_rows(np.arange(items)).max()) + 1
    group = rng.integers(0, num_groups, (queries, 5))
    group[:, -1] = num_groups - 1  # the last has few items, if any
    case = {"query": query, "item": item, "group": group, "tiles_per_block": np.array(tiles_per_block)}
    # Rules that let nothing, some and everything pass.
    passes = rng.random((3, items)) < np.array([0.0, 0.3, 1.0])[:, None]
    whole = np.pad(passes, [(0, 0), (0, -items % TILE)])
    bits = np.packbits(whole, axis=1, bitorder="little")
    return case | {"bits": bits, "line": rng.integers(0, 3, queries), "passes": passes}


def check(device: str, folder: Path) -> None:
    cases = [drawn(*case) for case in CASES]
    for number, case in enumerate(cases):
        np.savez(folder / f"{number}.case.npz", **case)  # type: ignore[arg-type]
    environment = {**os.environ, "TRITON_INTERPRET": "1" if device == "cpu" else "0"}
    command = [sys.executable, "-m", "tests.retrieval.index.kernels", device, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, check=False, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 0, ended.stderr
    for number, case in enumerate(cases):
        compare(case, dict(np.load(folder / f"{number}.answer.npz")))


def compare(case: dict[str, np.ndarray], answer: dict[str, np.ndarray]) -> None:
    scores = case["query"].astype(np.float64) @ case["item"].astype(np.float64).T
    num_items, tiles = scores.shape[1], int(case["tiles_per_block"])
    group, num_groups = of_rows(np.arange(num_items)), answer["of_group"].shape[1]
    best = np.full((len(scores), num_groups), -np.inf)
    np.maximum.at(best.T, group, scores.T)
    # A tile's groups that lack items may have 0 in their place, never less than their best.
    count = np.bincount(group, minlength=num_groups)
    in_tile = np.arange(num_groups) < -(-num_items // TILE) * PLACES
    best = np.where(in_tile & (count < GROUP), np.maximum(best, 0.0), best)
    np.testing.assert_allclose(answer["of_group"], best, rtol=1e-5, atol=1e-4)
    by_block = best.reshape(len(scores), -1, tiles, PLACES).max(2).reshape(len(scores), -1)
    np.testing.assert_allclose(answer["of_super"], by_block, rtol=1e-5, atol=1e-4)
    ruled = np.full((len(scores), num_groups), -np.inf)
    np.maximum.at(ruled.T, group, np.where(case["passes"][case["line"]], scores, -np.inf).T)
    np.testing.assert_allclose(answer["ruled_group"], ruled, rtol=1e-5, atol=1e-4)
    by_block = ruled.reshape(len(scores), -1, tiles, PLACES).max(2).reshape(len(scores), -1)
    np.testing.assert_allclose(answer["ruled_super"], by_block, rtol=1e-5, atol=1e-4)
    for line, asked in enumerate(case["group"]):
        rows = [np.flatnonzero(group == each) for each in asked]
        within = [np.pad(scores[line, row], (0, GROUP - len(row)), constant_values=-np.inf) for row in rows]
        np.testing.assert_allclose(answer["within"][line], np.concatenate(within), rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(TRITON < (3, 7), reason="Triton 3.7 or later is not installed")
def test_interpreted_they_are_right(tmp_path: Path) -> None:
    check("cpu", tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(
    TRITON == (0, 0) or not torch.cuda.is_available(), reason="no CUDA device, or Triton is not installed"
)
def test_compiled_they_are_right(tmp_path: Path) -> None:
    check("cuda", tmp_path)
