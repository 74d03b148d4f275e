"""What a candidate is held to beside the live release: by hand-made figures, and by builds with a fault."""

import logging
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from conf.compose import compose_settings
from conf.schema import PipelineSettings
from retrieval.catalogue import Catalogue
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.licences import Licences
from retrieval.index.spec import IndexSpec
from retrieval.release.answered import Answered, answered, cpu_milliseconds, newest_events
from retrieval.release.build import build_release
from retrieval.release.eligibility_gates import (
    Shown,
    eligibility_parity,
    share_available,
    share_changed,
    share_watched_unlicensed,
)
from retrieval.release.footprint import reachable_bytes
from retrieval.release.gates import SOUNDNESS, Gate, GateSettings, LiveBounds
from retrieval.release.manifest import parse_manifest
from retrieval.release.read import read_release
from retrieval.release.served_gates import coverage, exposure, popularity_lift, quality, within
from retrieval.release.store import current, open_release
from retrieval.release.tables import gates_table
from retrieval.release.title_gates import days_behind, titles_kept
from tests.retrieval.conftest import Exported
from tests.retrieval.worlds import items_table, release
from tests.worlds import SIGNALS, block_world, write_tables
from towers.data.dataset import Dataset, dataset_from_tables, read_dataset
from towers.data.schema import Tables
from towers.data.signals.settings import signals_of
from towers.data.split import SplitKind, SplitSettings, sampled_test, sampled_validation, split
from towers.data.vocabulary import OOV
from towers.errors import ConfigError, GateError

BOUNDS = LiveBounds()


def _answered(ndcg: np.ndarray, **figures: float) -> Answered:
    return Answered(**{"ndcg": ndcg, "coverage": 0.5, "gini": 0.6, "popularity_lift": 1.2, **figures})  # type: ignore[arg-type]


def test_quality_is_stopped_where_it_is_sure_to_be_worse() -> None:
    rng = np.random.default_rng(0)
    live = _answered((rng.random(1000) < 0.3).astype(float))
    same, lost = live.ndcg.copy(), live.ndcg.copy()
    same[rng.permutation(1000)[:20]] = rng.random(20)  # as good, by other questions
    lost[np.flatnonzero(lost)[::3]] = 0.0  # a third of the hits
    assert quality(_answered(same), live, BOUNDS).passed
    worse = quality(_answered(lost), live, BOUNDS)
    assert not worse.passed
    assert worse.value is not None
    assert -0.35 < worse.value < -0.2
    assert quality(_answered(np.ones(1000)), live, BOUNDS).passed
    few = _answered(live.ndcg[:3])
    assert quality(None, few, BOUNDS).passed
    assert quality(None, few, BOUNDS).value is None


def test_what_is_shown_is_held_against_what_the_live_release_shows() -> None:
    ndcg = np.ones(3)
    live = _answered(ndcg)
    collapsed = _answered(ndcg, coverage=0.02, gini=0.99, popularity_lift=4.0)
    for each in (coverage, popularity_lift, exposure):
        assert each(live, live, BOUNDS).value == pytest.approx(1.0)
        assert each(live, live, BOUNDS).passed
        assert not each(collapsed, live, BOUNDS).passed
        assert each(collapsed, None, BOUNDS).passed  # nothing to compare with
    assert coverage(collapsed, live, BOUNDS).value == pytest.approx(0.04)
    assert exposure(collapsed, live, BOUNDS).value == pytest.approx(0.025)


def test_titles_days_and_costs_are_held_against_the_live_ones() -> None:
    assert titles_kept(0.95, BOUNDS).value == 0.95
    assert not titles_kept(0.5, BOUNDS).passed
    assert titles_kept(None, BOUNDS).passed
    assert days_behind(86_400, 2 * 86_400, BOUNDS).value == 1.0
    assert not days_behind(86_400, 2 * 86_400, BOUNDS).passed
    assert days_behind(3 * 86_400, 2 * 86_400, BOUNDS).passed
    # A budget binds; without one the live cost does, and what is nearly free is free.
    assert not within(Gate.LATENCY, 3.0, 2.0, None, 2.0, 1.0).passed
    assert within(Gate.LATENCY, 3.0, None, 2.0, 2.0, 1.0).passed
    assert not within(Gate.LATENCY, 5.0, None, 2.0, 2.0, 1.0).passed
    assert within(Gate.LATENCY, 0.9, None, 0.1, 2.0, 1.0).passed
    assert not within(Gate.LATENCY, None, 2.0, None, 2.0, 1.0).passed  # a budget that nothing measured
    assert within(Gate.MEMORY, 5000.0, None, None, 2.0, 64.0).passed  # the first release


def test_only_what_makes_an_answer_worse_can_be_overridden_and_with_a_reason() -> None:
    with pytest.raises(
        ConfigError, match=r"gates\.override\[0\]: 'covrage' is not a choice; expected .*coverage"
    ):
        compose_settings(PipelineSettings, "build_index", ["gates.override=[covrage]"])
    for name in SOUNDNESS:
        with pytest.raises(ConfigError, match="cannot be overridden"):
            GateSettings(override=[name], override_reason="why")
    with pytest.raises(ConfigError, match="override_reason: not given"):
        GateSettings(override=[Gate.COVERAGE], override_reason=" ")


def test_the_same_questions_are_asked_of_catalogues_in_other_orders() -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    dataset = dataset_from_tables(block_world(3, 10, 20, 5, seed=0))
    asked = sampled_test(dataset, SplitSettings(), 50)
    order = np.random.default_rng(1).permutation(30)
    table = dataset.items.select(items_table(1).column_names)
    one = release(vectors, items=table)
    two = release(vectors[order], items=table.take(pa.array(order)), num_events=one.num_events[order])
    back = np.argsort(order)
    first, second = answered(one, asked, np.arange(30)), answered(two, asked, back)
    # The prior of the encoder of these tests is the first vector, so only the same histories are the same.
    assert np.count_nonzero(first.ndcg != second.ndcg) == 0
    assert (first.coverage, first.gini) == (second.coverage, second.gini)
    # Of a target that is not in the catalogue, and of a history of such, nothing is found.
    gone = release(vectors[:15], items=table.slice(0, 15))
    unknown = np.isin(asked.target_row, np.arange(15, 30))
    assert unknown.any()
    kept = np.where(np.arange(30) < 15, np.arange(30), OOV)
    assert not answered(gone, asked, kept).ndcg[unknown].any()
    assert all(each > 0.0 for each in cpu_milliseconds([(one, np.arange(30)), (two, back)], asked, 10))


def test_the_questions_are_those_of_the_split() -> None:
    dataset = dataset_from_tables(block_world(3, 10, 20, 5, seed=0))
    for settings in (SplitSettings(), SplitSettings(SplitKind.GLOBAL_TIME)):
        whole = split(dataset, settings).test
        some = sampled_test(dataset, settings, 7)
        assert len(some) == min(7, len(whole))
        every = sampled_test(dataset, settings, 10**6)
        np.testing.assert_array_equal(every.profile_row, whole.profile_row)
        np.testing.assert_array_equal(every.target_row, whole.target_row)
        np.testing.assert_array_equal(every.history.item_row, whole.history.item_row)
        place = np.searchsorted(whole.profile_row, some.profile_row)
        np.testing.assert_array_equal(whole.time_seconds[place], some.time_seconds)


@pytest.mark.parametrize("kind", list(SplitKind))
def test_the_questions_of_a_training_are_those_that_selected(kind: SplitKind) -> None:
    dataset = dataset_from_tables(block_world(3, 10, 20, 5, seed=0))
    for settings in (SplitSettings(kind), SplitSettings(kind, unlearned_share=0.5)):
        whole, every = split(dataset, settings).validation, sampled_validation(dataset, settings, 10**6)
        assert len(whole) > 7
        for name in ("profile_row", "target_offset", "target_row", "time_seconds"):
            np.testing.assert_array_equal(getattr(every, name), getattr(whole, name))
        np.testing.assert_array_equal(every.history.item_row, whole.history.item_row)
        some = sampled_validation(dataset, settings, 7)
        assert len(some) == 7
        assert set(some.profile_row.tolist()) < set(whole.profile_row.tolist())


def test_the_newest_events_are_the_last_in_time() -> None:
    dataset = dataset_from_tables(block_world(2, 10, 6, 5, seed=0))
    seconds = dataset.history.time_seconds
    assert seconds[newest_events(dataset.history, 9)].tolist() == sorted(seconds.tolist())[-9:]
    assert len(newest_events(dataset.history, 10**6)) == len(seconds)


def test_memory_counts_every_buffer_once() -> None:
    block = np.zeros(1 << 20, np.uint8)
    shared = [block, block[10:], block.reshape(1024, 1024), lambda: block]
    assert (1 << 20) <= reachable_bytes(shared) < (1 << 20) + 10_000
    tensor = torch.zeros(1 << 18)
    assert (1 << 20) <= reachable_bytes((tensor, tensor[5:])) < (1 << 20) + 10_000
    assert reachable_bytes(pa.table({"a": np.zeros(1 << 17)})) == 1 << 20


# Rules and licences


def _licensed(tables: Tables, end: int | None) -> Tables:
    """The tables with every title licensed in Germany since ever, until a moment."""
    until = None if end is None else datetime.fromtimestamp(end, UTC)
    column = pa.array([[{"country": "DE", "start": None, "end": until}]] * tables.items.num_rows)
    place = tables.items.column_names.index("licences")
    field = tables.items.schema.field(place)
    return replace(tables, items=tables.items.set_column(place, field, column.cast(field.type)))


def _of(tables: Tables) -> Dataset:
    dataset = dataset_from_tables(tables)
    return replace(dataset, country=np.array(["DE"] * len(dataset.profiles)))


def test_rules_compiled_from_another_table_than_the_source_are_found() -> None:
    tables = block_world(3, 20, 8, 6, seed=0)
    newest = int(dataset_from_tables(tables).history.time_seconds.max())
    items = _licensed(tables, newest + 10).items

    def parity(compiled: pa.Table) -> int:
        return eligibility_parity(Eligibility(Catalogue(compiled)), items, newest)

    assert parity(items) == 0
    assert parity(_licensed(tables, newest - 10).items) > 0
    assert parity(items.take(pa.array(np.random.default_rng(0).permutation(60)))) > 0
    assert parity(items.slice(1)) > 0


def test_events_of_titles_without_licence_say_that_the_table_is_stale() -> None:
    tables = block_world(3, 20, 8, 6, seed=0)
    seconds = np.sort(dataset_from_tables(tables).history.time_seconds)
    assert share_watched_unlicensed(_of(_licensed(tables, None))) == 0.0
    half = _of(_licensed(tables, int(seconds[len(seconds) // 2])))
    assert share_watched_unlicensed(half) == pytest.approx(0.5, abs=0.01)
    assert share_watched_unlicensed(dataset_from_tables(tables)) is None  # no licences, no countries


def test_the_past_of_licences_does_not_change() -> None:
    def made(ends: list[int | None]) -> Shown:
        licences = [
            [
                {
                    "country": "DE",
                    "start": None,
                    "end": None if end is None else datetime.fromtimestamp(end, UTC),
                }
            ]
            for end in ends
        ]
        table = items_table(4, licences=licences)
        one = release(np.eye(4, dtype=np.float32), items=table, profiles={"p": [0]})
        profiles = replace(one.profiles, country=np.array(["DE"]), as_of_seconds=1000)
        return Shown(Licences(table["licences"]), np.arange(4), profiles)

    live, later, stale = made([None, 900, None, None]), made([None, 900, 1500, None]), made([None] * 4)
    for candidate, expected in ((later, 0.0), (stale, 0.25)):
        assert share_changed(candidate, live) == expected
    assert share_available(live) == 0.75


# Whole builds


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Exported:
    shutil.copytree(exported.model, tmp_path / "model")
    shutil.copytree(exported.tables, tmp_path / "tables")
    return Exported(tmp_path / "model", tmp_path / "tables")


def _few_titles(copied: Exported) -> None:
    """Half of the titles are lost, with their events; the same towers embed the rest."""
    from towers.nets.two_tower import load_towers
    from towers.training.export import export

    tables = block_world(3, 20, 8, 6, seed=0, cold_items_per_block=2)
    kept = tables.items.slice(0, 30)
    events = tables.events.filter(
        pa.compute.is_in(tables.events["item_id"], kept["item_id"].combine_chunks())
    )
    shutil.rmtree(copied.tables)
    write_tables(Tables(kept, events, tables.profiles, tables.queries.slice(0, 0)), copied.tables)
    dataset = read_dataset(copied.tables, signals_of({"signals": SIGNALS}))
    towers = load_towers(copied.model)
    context = {"signals": SIGNALS}
    export(towers, dataset, split(dataset, SplitSettings()), copied.model, context=context)


def test_half_a_catalogue_is_refused_unless_somebody_says_why(
    copied: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "releases"
    build_release(copied.model, copied.tables, root, IndexSpec(), GateSettings(k=10))
    _few_titles(copied)
    with pytest.raises(GateError) as caught:
        build_release(copied.model, copied.tables, root, IndexSpec(), GateSettings(k=10))
    assert "FAILED titles_kept: 0.5, expected >= 0.9" in str(caught.value)
    assert "gates.override=[titles_kept] gates.override_reason=" in str(caught.value)
    assert current(root) == "r000001"
    reason = "the kids' catalogue moved to another service"
    settings = GateSettings(k=10, override=[Gate.TITLES_KEPT, Gate.COVERAGE], override_reason=reason)
    with caplog.at_level(logging.WARNING):
        info = build_release(copied.model, copied.tables, root, IndexSpec(), settings)
    assert "gate overridden overridden titles_kept" in caplog.text
    assert current(root) == info.release_id == "r000002"
    read = parse_manifest((info.folder / "manifest.json").read_bytes(), info.folder)
    overridden = {one.name: one for one in read.description.gates if one.override is not None}
    assert list(overridden) == ["titles_kept"]  # coverage passed: nothing was overridden
    assert (overridden["titles_kept"].override, overridden["titles_kept"].passed) == (reason, False)
    assert read == open_release(root).manifest
    assert gates_table(read.description.gates).row_count == len(read.description.gates)


def test_a_live_release_that_is_damaged_does_not_keep_a_sound_one_out(
    exported: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info = build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10))
    (info.folder / "items.parquet").write_bytes(b"x")
    build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10))
    assert "live release cannot be opened" in caplog.text
    assert read_release(tmp_path).release_id == "r000002"
