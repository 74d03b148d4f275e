"""Machine code is made wherever it can be kept, and where it cannot."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_SCAN = """
import numpy as np
from retrieval.index.allowed import everything
from retrieval.index.scan import scan_allowed
vectors = np.eye(4, dtype=np.float32)
assert scan_allowed(vectors, vectors[2:3], 1, everything(1))[1].tolist() == [[2]]
print("answered")
"""


def _run(cache: Path, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.run(
        [sys.executable, "-B", "-c", _SCAN],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_query_is_answered_on_a_full_disk(tmp_path: Path) -> None:
    done = _run(tmp_path, most_bytes=500)
    assert done.stdout == "answered\n", done.stderr
    assert "machine code not kept" in done.stderr
    assert not [path for path in tmp_path.rglob("*.nbc") if path.stat().st_size]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_query_is_answered_where_no_folder_can_be_written(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert _run(locked).stdout == "answered\n"


def test_what_was_made_once_is_kept(tmp_path: Path) -> None:
    assert _run(tmp_path).stdout == "answered\n"
    assert [path for path in tmp_path.rglob("*.nbc") if path.stat().st_size]
