"""Scripts run as a user runs them, and their evaluation is read as it was written."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.claims import BenchmarkError
from benchmarks.stages import median_if_all, on_cores, read_n10, run_script, served_over


def evaluated(folder: Path, **n10: float) -> Path:
    recommenders = {name: {"ndcg@10": figure, "recall@10": 0.5} for name, figure in n10.items()}
    (folder / "evaluation.json").write_text(json.dumps({"recommenders": recommenders}))
    return folder


def test_the_figures_are_those_of_the_evaluation(tmp_path: Path) -> None:
    assert read_n10(evaluated(tmp_path, served=0.3, popular=0.2)) == {"served": 0.3, "popular": 0.2}


def test_a_ratio_is_what_is_served_over_the_other() -> None:
    n10 = {"served": 0.3, "popular": 0.2, "item_knn": 0.25}
    assert served_over(n10, "popular") == pytest.approx(1.5)
    assert served_over(n10, "item_knn") == pytest.approx(1.2)


def test_nothing_is_said_over_a_recommender_that_finds_nothing() -> None:
    assert served_over({"served": 0.3, "popular": 0.0}, "popular") is None


def test_an_evaluation_that_is_missing_or_other_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"evaluation\.json: .*expected ndcg@10 of each recommender"):
        read_n10(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"recommenders": {"served": {"recall@10": 0.1}}}')
    with pytest.raises(BenchmarkError, match="expected ndcg@10 of each recommender"):
        read_n10(tmp_path)
    with pytest.raises(BenchmarkError, match=r"evaluation has \['served'\]; expected \['item_knn'\] too"):
        served_over({"served": 0.3}, "item_knn")


def test_a_script_that_fails_ends_the_measurement() -> None:
    with pytest.raises(BenchmarkError, match=r"scripts/no_such_script\.py ended with exit code 2"):
        run_script("no_such_script")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes to cores")
def test_cores_are_given_back_after_the_measurement() -> None:
    before = os.sched_getaffinity(0)
    with on_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_a_median_needs_every_repetition() -> None:
    assert median_if_all([3.0, 1.0, 2.0]) == 2.0
    assert median_if_all([3.0, None, 2.0]) is None
    assert median_if_all([]) is None
