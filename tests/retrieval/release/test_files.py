"""What a release's files are read by."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.index.build import build_index
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.files import read_index
from towers.errors import IntegrityError


def test_an_index_that_cannot_be_read_is_a_fault_of_the_release(tmp_path: Path) -> None:
    vectors = np.eye(4, dtype=np.float32)
    spec = IndexSpec(IndexKind.FLAT)
    build_index(spec, vectors).save(tmp_path)
    assert read_index(spec, tmp_path, vectors).search(vectors[:1], 1)[1].tolist() == [[0]]
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"no index")
    with pytest.raises(IntegrityError, match="expected a FAISS index"):
        read_index(spec, tmp_path, vectors)
