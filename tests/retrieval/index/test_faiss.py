"""What FAISS is kept from doing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval.index.build import build_index, load_index
from retrieval.index.spec import IndexKind, IndexSpec
from towers.errors import IndexBuildError

_FORK = """
import os, signal, sys
import numpy as np
from retrieval.index.build import build_index
from retrieval.index.spec import IndexKind, IndexSpec
vectors = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
indexes = [build_index(IndexSpec(kind), vectors) for kind in (IndexKind.FLAT, IndexKind.HNSW, IndexKind.IVF)]
expected = [index.search(vectors[:500], 5)[1] for index in indexes]
child = os.fork()
if child == 0:
    signal.alarm(30)  # a hanging child ends with a signal, not with 0
    same = all(np.array_equal(i.search(vectors[:500], 5)[1], e) for i, e in zip(indexes, expected))
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_after_a_search_can_search() -> None:
    several_threads = {**os.environ, "OMP_NUM_THREADS": "2"}
    root = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", _FORK], cwd=root, env=several_threads, capture_output=True)
    assert ended.returncode == 0, ended.stderr


def test_idle_threads_sleep_unless_the_environment_says_otherwise() -> None:
    command = "import os, retrieval.index.faiss; print(os.environ['OMP_WAIT_POLICY'])"
    for policy, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        if policy is not None:
            environment["OMP_WAIT_POLICY"] = policy
        printed = subprocess.run(
            [sys.executable, "-c", command],
            cwd=Path(__file__).parents[3],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert printed.stdout.strip() == expected


def test_a_file_of_another_index_is_refused(tmp_path: Path) -> None:
    vectors = np.eye(4, dtype=np.float32)
    build_index(IndexSpec(IndexKind.HNSW), vectors).save(tmp_path)
    with pytest.raises(IndexBuildError, match="holds a IndexHNSWFlat; expected a IndexFlatIP"):
        load_index(IndexSpec(IndexKind.FLAT), tmp_path, vectors)
    (tmp_path / "index.faiss").write_bytes(b"no index at all")
    with pytest.raises(IndexBuildError, match="expected a FAISS index"):
        load_index(IndexSpec(IndexKind.FLAT), tmp_path, vectors)


def test_copies_are_one_node_each(tmp_path: Path) -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32), 1000, axis=0)
    build_index(IndexSpec(IndexKind.HNSW), vectors).save(tmp_path)
    assert (tmp_path / "index.faiss").stat().st_size < 10_000
