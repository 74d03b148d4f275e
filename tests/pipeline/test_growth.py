"""A catalogue that goes on growing: yesterday's towers serve today's titles, without training."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from retrieval import Retriever
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from tests.worlds import DAY_SECONDS, SIGNALS, START_SECONDS, block_world, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.schema import EVENTS, PROFILES, TIME, Tables, table
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError
from towers.nets.two_tower import ModelSettings, TwoTower, load_towers
from towers.training.export import export
from towers.training.fit import fit_towers
from towers.training.growth import grow_export
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

NUM_BLOCKS, NEW = 3, 4


def later(tables: Tables) -> Tables:
    """The same service a month on: twelve titles more, in the same blocks, at the front of the catalogue; one
    profile more, of another country; it watches six titles, and half of them are new.
    """
    whole = block_world(NUM_BLOCKS, 12 + NEW, 8, 6, seed=0).items
    new = whole.slice(12 * NUM_BLOCKS)
    profiles = table(PROFILES, {"profile_id": ["new"], "country": ["KR"]})
    watched = ["i0", "i3", "i6", *new["item_id"].to_pylist()[: 3 * NUM_BLOCKS : NUM_BLOCKS]]
    days = [1000 * (START_SECONDS + DAY_SECONDS * (30 + day)) for day in range(len(watched))]
    events = table(
        EVENTS,
        {
            "profile_id": ["new"] * len(watched),
            "item_id": watched[::-1],
            "start": pa.array(days, TIME),
            "minutes_watched": [90.0] * len(watched),
        },
    )
    return replace(
        tables,
        items=pa.concat_tables([new, tables.items]),
        events=pa.concat_tables([tables.events, events]),
        profiles=pa.concat_tables([tables.profiles, profiles]),
    )


class Service:
    """Yesterday's export, and today's grown from it; both published."""

    def __init__(self, folder: Path) -> None:
        tables = block_world(NUM_BLOCKS, 12, 8, 6, seed=0)
        dataset = dataset_from_tables(tables)
        parts = split(dataset, SplitSettings())
        torch.manual_seed(0)
        encoder = fit_features(*training_rows(dataset, parts), FeatureSettings())
        towers = TwoTower(ModelSettings(dim=16, num_layers=1), encoder).eval()
        for feature in towers.pairs()[0].items.tables:
            nn.init.normal_(feature.row.weight, std=0.3)  # type: ignore[union-attr,arg-type]
        context = {"split": asdict(SplitSettings()), "signals": SIGNALS}
        export(towers, dataset, parts, folder / "old", context=context)
        self.tables, self.folder = later(tables), folder
        self.dataset = dataset_from_tables(self.tables)
        grow_export(folder / "old", self.dataset, folder / "new")
        self.before = self._published("old", tables)
        self.after = self._published("new", self.tables)

    def _published(self, name: str, tables: Tables) -> Retriever:
        write_tables(tables, self.folder / f"{name} tables")
        releases = self.folder / f"{name} releases"
        tables_dir = self.folder / f"{name} tables"
        build_release(self.folder / name, tables_dir, releases, IndexSpec(), GateSettings(k=5))
        return Retriever.open(releases)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("growing"))


def test_known_profiles_are_answered_with_the_same_scores_among_more_titles(service: Service) -> None:
    for profile_id in service.before.profile_ids:
        old = dict(service.before.recommend(profile_id, k=100))
        new = dict(service.after.recommend(profile_id, k=100))
        assert len(new) == len(old) + NEW * NUM_BLOCKS
        for item_id, score in old.items():
            assert new[item_id] == pytest.approx(score, abs=1e-6)


def test_a_new_title_is_found_beside_those_it_is_like(service: Service) -> None:
    for block in range(NUM_BLOCKS):
        item_id = f"i{12 * NUM_BLOCKS + block}"
        assert item_id not in service.before.items
        best = service.after.similar(item_id, k=5)
        assert {int(one[1:]) % NUM_BLOCKS for one in best.item_id} == {block}


def test_what_the_new_log_trains_on_has_rows_after_those_that_were_there(service: Service) -> None:
    old, new = (load_towers(service.folder / name) for name in ("old", "new"))
    ids, more = (towers.encoder.items.vocabularies["item_id"].ids for towers in (old, new))
    assert more[: len(ids)] == ids
    # Of the new profile's six titles the last two are held out: i0 and i3 are, the oldest are the new ones.
    first_new = service.tables.items["item_id"].to_pylist()[: 3 * NUM_BLOCKS : NUM_BLOCKS]
    assert set(first_new) <= set(more[len(ids) :])
    assert set(more[len(ids) :]) <= {*first_new, "i0", "i3", "i6"}
    assert new.encoder.profiles.vocabularies["country"].ids == ("GB", "KR")


def test_popularity_is_counted_in_the_new_log(service: Service) -> None:
    counted = dict(zip(service.after.items.vocabulary.ids, service.after.num_events.tolist(), strict=True))
    train = split(service.dataset, SplitSettings()).train
    ids = service.dataset.items["item_id"].to_pylist()
    assert counted == {
        ids[row]: int(num) for row, num in enumerate(np.bincount(train.item_row, minlength=48))
    }


def test_growing_again_from_the_same_log_changes_nothing(service: Service) -> None:
    grow_export(service.folder / "new", service.dataset, service.folder / "again")
    for name in ("model.json", "towers.safetensors", "items.safetensors", "training.json"):
        assert (service.folder / "again" / name).read_bytes() == (service.folder / "new" / name).read_bytes()


def test_training_goes_on_from_an_export_and_refuses_one_of_another_shape(tmp_path: Path) -> None:
    tables = block_world(3, 10, 6, 5, seed=2)
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings())
    trainer = TrainerSettings(max_epochs=1, accelerator=Accelerator.CPU, learning_rate=1e-9, weight_decay=0.0)
    settings = FitSettings(model=ModelSettings(dim=16, num_layers=1), trainer=trainer)
    first = fit_towers(dataset, parts, replace(settings, seed=5), tmp_path / "first")
    export(first, dataset, parts, tmp_path / "model", context={})
    # At a learning rate of nearly nothing, what comes out is what went in, not another seed's random weights.
    again = fit_towers(
        dataset, parts, replace(settings, seed=6, warm_start=str(tmp_path / "model")), tmp_path / "second"
    )
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, rtol=0.0, atol=1e-6)
    wider = replace(settings, model=ModelSettings(dim=32), warm_start=str(tmp_path / "model"))
    with pytest.raises(ConfigError, match=r"warm_start: .* has other settings of model"):
        fit_towers(dataset, parts, wider, tmp_path / "third")
