from pathlib import Path

import pytest

from benchmarks.beauty import result
from benchmarks.claims import BenchmarkError
from benchmarks.results import Kept

FOUND = {"recall@10": 0.1, "ndcg@10": 0.06}


def kept(tmp_path: Path, commit: str | None) -> Kept:
    """Results of a tree at this commit."""
    return Kept("beauty", lambda: commit, tmp_path)


def test_what_is_kept_of_a_commit_is_not_trained_again(tmp_path: Path) -> None:
    results = kept(tmp_path, "0123456789ab")
    results.put("ids only 3", FOUND, "0123456789ab")
    # There are no files to train from: a training that started would fail.
    assert result(tmp_path / "none", "ids only", 3, results, []) == FOUND
    assert kept(tmp_path, "ba9876543210").get("ids only 3") is None


def test_nothing_is_kept_of_a_training_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It fails at once: there is no script in this folder.
    monkeypatch.setattr("benchmarks.beauty.ROOT", tmp_path)
    results = kept(tmp_path, "0123456789ab")
    with pytest.raises(BenchmarkError, match=r"ended with exit code \d"):
        result(tmp_path / "none", "ids only", 4, results, [])
    assert results.get("ids only 4") is None


@pytest.mark.parametrize(
    ("begun_at", "ended_at"),
    [(None, None), ("0123456789ab-dirty", "0123456789ab-dirty"), ("0123456789ab", "ba9876543210")],
)
def test_nothing_is_kept_of_what_has_no_commit_or_had_another(
    begun_at: str | None, ended_at: str | None, tmp_path: Path
) -> None:
    kept(tmp_path, ended_at).put("ids only 3", FOUND, begun_at)
    assert list(tmp_path.rglob("*.json")) == []
