"""From raw tables to answers, in a world whose tastes are known."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from retrieval import Retriever
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from tests.worlds import SIGNALS, block_of, block_world, write_tables
from towers.data.batches import LoaderSettings
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import Split, SplitSettings, split, split_of
from towers.errors import UnknownIdError
from towers.evaluation.evaluate import evaluate
from towers.exported import read_context
from towers.nets.two_tower import ModelSettings
from towers.objectives.settings import ObjectiveSettings
from towers.recommender import Degraded, Queries
from towers.training.export import export
from towers.training.fit import fit_towers
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

NUM_BLOCKS, ITEMS_PER_BLOCK, COLD = 4, 14, 3
SETTINGS = FitSettings(
    model=ModelSettings(dim=16, num_layers=1, num_heads=2, max_history=10, dropout=0.1, item_dropout=0.1),
    objective=ObjectiveSettings(temperature=0.1, num_targets=2),
    loader=LoaderSettings(batch_positions=64),
    trainer=TrainerSettings(max_epochs=30, learning_rate=1e-2, accelerator=Accelerator.CPU),
)


class Service:
    """A trained and published block world."""

    def __init__(self, folder: Path) -> None:
        tables = block_world(NUM_BLOCKS, ITEMS_PER_BLOCK, 12, 8, seed=3, cold_items_per_block=COLD)
        self.dataset: Dataset = dataset_from_tables(tables)
        self.split: Split = split(self.dataset, SplitSettings())
        self.folder = folder
        write_tables(tables, folder / "tables")
        towers = fit_towers(self.dataset, self.split, SETTINGS, folder / "checkpoints")
        context = {"title": "blocks", "split": asdict(SplitSettings()), "signals": SIGNALS}
        export(towers, self.dataset, self.split, folder / "model", context=context)
        for kind in (IndexKind.FLAT, IndexKind.HNSW):
            build_release(
                folder / "model",
                folder / "tables",
                folder / kind.value,
                IndexSpec(kind),
                GateSettings(k=10, num_queries=48),
            )

    def open(self, kind: IndexKind) -> Retriever:
        return Retriever.open(self.folder / kind.value)

    def blocks(self, item_ids: tuple[str, ...]) -> np.ndarray:
        return block_of(self.dataset.catalogue.rows(item_ids), NUM_BLOCKS)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("service"))


@pytest.mark.parametrize("kind", [IndexKind.FLAT, IndexKind.HNSW])
def test_every_profile_is_shown_all_that_is_left_of_its_block_first(
    service: Service, kind: IndexKind
) -> None:
    retriever = service.open(kind)
    for row, profile_id in enumerate(service.dataset.profiles.ids):
        left = ITEMS_PER_BLOCK - 8
        ranking = retriever.recommend(profile_id, k=left)
        assert (service.blocks(ranking.item_id) == row % NUM_BLOCKS).all()
        assert not set(ranking.item_id) & set(retriever.history(profile_id))
        assert ranking.degraded is None


def test_held_out_titles_are_found_by_what_is_served(service: Service) -> None:
    judged = evaluate(service.open(IndexKind.FLAT), service.split.test, num_items=56, ks=(7,))
    # Of 7 titles left in a block one is held out, and only chance orders them.
    assert judged.per_query("recall@7").mean() == 1.0


def test_a_flat_index_serves_what_the_exact_oracle_finds(service: Service) -> None:
    retriever = service.open(IndexKind.FLAT)
    served = evaluate(retriever, service.split.test, num_items=56, ks=(10,), name="served")
    oracle = retriever.exact()
    assert oracle is not None
    exact = evaluate(oracle, service.split.test, num_items=56, ks=(10,), name="exact")
    np.testing.assert_array_equal(served.per_query("ndcg@10"), exact.per_query("ndcg@10"))


def test_titles_alike_are_of_one_block_and_a_cold_one_is_among_them(service: Service) -> None:
    retriever = service.open(IndexKind.FLAT)
    for row, item_id in enumerate(service.dataset.catalogue.ids[:NUM_BLOCKS]):
        ranking = retriever.similar(item_id, k=ITEMS_PER_BLOCK - 1)
        assert (service.blocks(ranking.item_id) == row).all()
        cold = ~service.split.seen[service.dataset.catalogue.rows(ranking.item_id)]
        assert cold.sum() >= COLD


def test_a_search_for_a_title_finds_it(service: Service) -> None:
    retriever = service.open(IndexKind.FLAT)
    title = retriever.items[service.dataset.catalogue.ids[5]].title
    assert retriever.search(title, k=1).item_id == (service.dataset.catalogue.ids[5],)


def test_a_profile_nobody_knows_is_answered_from_popularity_and_tagged(service: Service) -> None:
    retriever = service.open(IndexKind.FLAT)
    ranking = retriever.recommend("stranger", k=56)
    assert ranking.degraded is Degraded.UNKNOWN_PROFILE
    counts = np.bincount(service.split.train.item_row, minlength=56)
    shown = counts[service.dataset.catalogue.rows(ranking.item_id)]
    assert (np.diff(shown) <= 0).all()
    with pytest.raises(UnknownIdError):
        retriever.history("stranger")


def test_a_history_given_with_its_times_is_answered_as_the_stored_one_without_minutes(
    service: Service,
) -> None:
    retriever = service.open(IndexKind.FLAT)
    history = service.dataset.history
    part = slice(int(history.offset[2]), int(history.offset[3]))
    events = list(
        zip(
            retriever.history(service.dataset.profiles.ids[2]),
            history.time_seconds[part].tolist(),
            strict=True,
        )
    )
    country = str(service.dataset.country[2])
    given = retriever.recommend(history=events, country=country, k=48)
    stored = history.select(np.array([2]))
    without_minutes = replace(stored, minutes=np.full_like(stored.minutes, np.nan))
    asked = Queries(without_minutes, stored.time_seconds[-1:], np.array([country]))
    np.testing.assert_allclose(given.score, retriever.rank(asked, 48).score[0], atol=1e-6)


def test_ids_given_without_times_are_answered_from_their_block(service: Service) -> None:
    retriever = service.open(IndexKind.FLAT)
    profile_id = service.dataset.profiles.ids[2]
    ranking = retriever.recommend(history=retriever.history(profile_id), k=6)
    assert (service.blocks(ranking.item_id) == 2).all()


def test_k_beyond_the_catalogue_gives_all_that_is_left_and_zero_gives_nothing(service: Service) -> None:
    retriever = service.open(IndexKind.HNSW)
    profile_id = service.dataset.profiles.ids[0]
    everything = retriever.recommend(profile_id, k=1000)
    assert len(everything) == 56 - 8
    assert len(set(everything.item_id)) == 48
    assert len(retriever.recommend(profile_id, k=0)) == 0


def test_the_release_says_how_its_towers_came_about(service: Service) -> None:
    release = next(path for path in (service.folder / "flat").iterdir() if path.is_dir())
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["context"] == read_context(service.folder / "model")
    assert split_of(manifest["context"]).kind == "leave_one_out"
