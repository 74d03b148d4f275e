import json
from pathlib import Path

import pytest

from benchmarks.beauty import kept_results, result
from benchmarks.claims import BenchmarkError

FOUND = {"recall@10": 0.1, "ndcg@10": 0.06}


def test_what_is_kept_of_a_commit_is_not_trained_again(tmp_path: Path) -> None:
    kept = kept_results("0123456789ab", tmp_path)
    assert kept is not None
    (kept / "ids only 3.json").write_text(json.dumps(FOUND))
    # There are no files to train from: a training that started would fail.
    assert result(tmp_path / "none", "ids only", 3, kept, []) == FOUND


def test_nothing_is_kept_of_a_training_that_fails(tmp_path: Path) -> None:
    kept = kept_results("0123456789ab", tmp_path)
    assert kept is not None
    with pytest.raises(BenchmarkError, match=r"ended with exit code \d"):
        result(tmp_path / "none", "ids only", 4, kept, [])
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("commit", [None, "0123456789ab-dirty"])
def test_nothing_is_kept_of_what_has_no_commit(commit: str | None, tmp_path: Path) -> None:
    assert kept_results(commit, tmp_path) is None
