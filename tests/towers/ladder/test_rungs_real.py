"""The simple rungs on the real ml-latest-small, leave-one-out over the full catalogue."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.towers.data.sources.raw_rows import ingested
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.sources.movielens import MovieLensSettings, read_movielens
from towers.data.split import Split, SplitSettings, split
from towers.evaluation.evaluate import Evaluation, evaluate
from towers.evaluation.report import difference
from towers.ladder.heuristics import fit_popular
from towers.ladder.neighbours import fit_item_knn
from towers.recommender import Recommender


@pytest.fixture(scope="module")
def dataset(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    source = read_movielens(MovieLensSettings(root=str(real_data / "ml-latest-small")))
    return dataset_from_tables(ingested(source, tmp_path_factory.mktemp("movielens"))[0])


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, SplitSettings())


def judged(rung: Recommender, parts: Split) -> Evaluation:
    return evaluate(rung, parts.test, num_items=len(parts.seen), ks=(10,), seen=parts.seen)


def test_each_rung_beats_the_one_below_for_certain(parts: Split) -> None:
    num_items = len(parts.seen)
    popular = judged(fit_popular(parts.train, num_items), parts)
    knn = fit_item_knn(parts.train, num_items)
    plain, recent = judged(replace(knn, recency=0.0), parts), judged(knn, parts)
    assert difference(recent, popular, "ndcg@10").low > 0.0
    assert difference(recent, plain, "ndcg@10").low > 0.0
    # Measured by a dense matrix product written apart from this code: R@10 .1033, N@10 .0571.
    assert recent.per_query("recall@10").mean() == pytest.approx(0.1033, abs=0.004)
    assert recent.per_query("ndcg@10").mean() == pytest.approx(0.0571, abs=0.002)
