"""The job from end to end: what it does, how it is stopped, and that it goes on."""

import gc
import json
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.due import Retrain
from retrieval.rebuild.plan import Work
from retrieval.rebuild.run import ORDER_FILE, SUMMARY_FILE, rebuild
from retrieval.rebuild.summary import Outcome, Summary
from retrieval.release.gates import GateSettings
from retrieval.release.operations import prune, roll_back
from retrieval.release.remote.ledger import head
from retrieval.release.remote.objects import open_objects
from retrieval.release.remote.push import push_missing
from retrieval.release.store import current, open_release
from retrieval.release.titles import ITEMS_FILE
from retrieval.retriever import Retriever
from tests.retrieval.rebuild.rebuilder import NEWER, wait_in_rebuild
from tests.retrieval.rebuild.worlds import Artifacts, Title, World, artifacts, train, world
from tests.worlds import DAY_SECONDS, START_SECONDS
from towers.data.schema import read_table, read_tables
from towers.data.title_groups import same_rows
from towers.processes import forked

PROCESSES = forked("tests.retrieval.rebuild.rebuilder")


def work_of(summary: Summary) -> Work:
    assert summary.plan is not None, summary.error
    return summary.plan.work


def test_each_change_is_met_by_its_work_and_then_there_is_nothing_to_do(service: Artifacts) -> None:
    told, title = world(), world().titles["t011"]
    steps: list[tuple[World, Work]] = [(told, Work.NOTHING)]
    told = told.with_watch("p3", "t039" if "t039" not in told.watched["p3"] else "t038")
    steps.append((told, Work.HISTORIES))
    told = told.with_titles(t011=replace(title, country="FR"))
    steps.append((told, Work.ELIGIBILITY))
    told = told.with_titles(t003=None, t010=Title("Turned", 4, 1910), n1=Title("Newcomer", 2, 2001))
    steps.append((told, Work.DELTA))
    told = told.with_titles(**{f"m{row}": Title(f"Many{row}", row % 5, 2010 + row) for row in range(45)})
    steps.append((told, Work.REINDEX))
    for told, work in steps:
        planned = rebuild(service.job(told), only_plan=True)
        assert (planned.outcome, work_of(planned), current(service.root)) == (
            Outcome.PLANNED,
            work,
            planned.live,
        )
        done = rebuild(service.job(told))
        assert (work_of(done), done.exit_code) == (work, 0)
        assert done.release_id == (None if work is Work.NOTHING else current(service.root))
        assert json.loads((service.folder / "rebuild" / SUMMARY_FILE).read_text()) == json.loads(
            done.to_json()
        )
        assert rebuild(service.job(told)).outcome is Outcome.NOTHING
    assert "index_updates.safetensors" not in open_release(service.root).manifest.files
    assert not (service.folder / "rebuild" / "export").exists()
    flat = rebuild(service.job(told, index=IndexSpec(IndexKind.FLAT)))
    assert work_of(flat) is Work.REINDEX


def test_the_newest_titles_are_read_in_the_order_of_those_that_are_live(
    service: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towers.data.title_groups.GROUP_ROWS", 8)
    service.build()
    tables, frozen = service.folder / "rebuild" / "tables", gc.get_freeze_count()
    live = read_table(service.folder / "tables", "items")["item_id"].to_pylist()
    told = world().with_titles(t003=None, n2=Title("Newcomer", 2, 2001), n1=Title("Another", 1, 2002))
    for _ in range(2):  # and when what is live is itself a delta
        told = replace(told, titles=dict(reversed(told.titles.items())))
        assert rebuild(service.job(told)).exit_code == 0
        ids = read_table(tables, "items")["item_id"].to_pylist()
        assert ids[:-2] == [each for each in live if each != "t003"]
        assert set(ids[-2:]) == {"n1", "n2"}
        same = same_rows(open_release(service.root).folder / ITEMS_FILE, tables / "items.parquet")
        assert [(rows.older, rows.newer) for rows in same] == [(row, row - 1) for row in (8, 16, 24, 32)]
    assert gc.get_freeze_count() == frozen


def test_a_release_that_is_pruned_while_the_source_is_read_does_not_stop_the_job(service: Artifacts) -> None:
    job, older = service.job(world()), current(service.root)

    def ingest(tables: Path, order_of: Path | None) -> None:
        service.build()
        prune(service.root, keep=1)
        assert not (service.root / str(older)).exists()
        job.ingest(tables, order_of)

    assert rebuild(replace(job, ingest=ingest)).outcome is Outcome.NOTHING
    assert not (job.folder / ORDER_FILE).exists()


def test_nothing_of_a_damaged_release_is_parsed(service: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    path = open_release(service.root).folder / "towers.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    for name in ("loaded_towers", "live_titles", "same_rows", "placed"):
        monkeypatch.setattr(f"retrieval.rebuild.survey.{name}", _never)
    summary = rebuild(service.job(world()))
    assert (summary.outcome, "towers.safetensors: SHA-256" in str(summary.error)) == (Outcome.FAILED, True)


def _never(*asked: object) -> None:
    raise AssertionError("a file of a damaged release is parsed")


def test_logs_of_another_service_are_refused_and_change_nothing(service: Artifacts) -> None:
    other = World({f"x{row}": Title(f"Other{row}", row % 5, 1990) for row in range(9)}, {"p0": ["x1", "x2"]})
    before = current(service.root)
    done = rebuild(service.job(other))
    assert (done.outcome, current(service.root)) == (Outcome.FAILED, before)
    assert done.error is not None
    assert "9 titles, and none of the 40 of r000001" in done.error
    assert "data=…" in done.error


def test_a_delta_that_finds_too_little_becomes_a_build(service: Artifacts) -> None:
    job = service.job(NEWER)
    slipping = replace(job, upkeep=UpkeepSettings(max_added_share=0.01, k=10))
    assert work_of(rebuild(slipping)) is Work.REINDEX  # what is planned by shares
    sloppy = IndexSpec(IndexKind.HNSW, m=2, ef_construction=1, ef_search=1)
    told = world(400, 12)
    other = artifacts(service.folder / "other", told)
    lenient = GateSettings(min_recall=0.0, min_slice_recall=0.0, num_queries=20, k=10)
    job = replace(other.job(told, index=sloppy), gates=lenient)
    other_built = replace(job, asked=replace(job.asked, retrain=Retrain.NOW), train=lambda: None)
    assert rebuild(other_built).outcome is Outcome.PUBLISHED
    told = told.with_titles(n1=Title("Newcomer", 2, 2401 - 400))
    done = rebuild(replace(other.job(told, index=sloppy), gates=lenient))
    assert work_of(done) is Work.REINDEX
    assert done.plan is not None
    assert "recall" in done.plan.reasons[-1]


def test_the_first_run_trains_and_a_model_that_no_release_has_is_published(tmp_path: Path) -> None:
    service, told = Artifacts(tmp_path), world()

    def trained() -> None:
        train(read_tables(tmp_path / "tables"), tmp_path, seed=1)

    first = rebuild(service.job(told, train=trained))
    assert (first.outcome, work_of(first)) == (Outcome.PUBLISHED, Work.RETRAIN)
    # Whoever was stopped between training and publish goes on from the towers that stand.
    train(told.tables(), tmp_path, seed=2)
    second = rebuild(service.job(NEWER))
    assert (second.outcome, work_of(second)) == (Outcome.PUBLISHED, Work.REEMBED)
    # And towers that were gone back from are not published again.
    roll_back(service.root)
    third = rebuild(service.job(NEWER))
    assert work_of(third) is Work.DELTA
    made = open_release(service.root).manifest.description.model_fingerprint
    assert made == open_release(service.root / "r000001").manifest.description.model_fingerprint


def test_towers_are_trained_when_they_are_old_and_there_is_something_newer(service: Artifacts) -> None:
    calls: list[str] = []
    told = world().with_watch("p3", next(one for one in world().titles if one not in world().watched["p3"]))

    def trained() -> None:
        calls.append("trained")
        train(read_tables(service.folder / "tables"), service.folder, seed=3)

    late = START_SECONDS + 40 * DAY_SECONDS
    signs = replace(service.job(told).asked.signs, max_age_days=30.0)
    same = rebuild(service.job(world(), train=trained, signs=signs, now_seconds=late))
    assert work_of(same) is Work.NOTHING
    newer = rebuild(service.job(told, train=trained, signs=signs, now_seconds=late))
    assert (work_of(newer), newer.outcome, calls) == (Work.RETRAIN, Outcome.PUBLISHED, ["trained"])
    assert rebuild(service.job(told, train=trained, signs=signs, now_seconds=late)).outcome is Outcome.NOTHING


def test_a_refused_release_leaves_the_live_one_and_a_good_one_is_pushed(service: Artifacts) -> None:
    before = current(service.root)
    strict = GateSettings(num_queries=20, k=10, max_parity_error=0.0)
    job = service.job(NEWER)
    done = rebuild(replace(job, gates=strict))
    assert (done.outcome, done.exit_code, current(service.root)) == (Outcome.REFUSED, 3, before)
    assert "embedding_parity" in str(done.error)
    # Where a push fails so does the run, and the next one makes up for it.
    remote = service.folder / "remote"
    remote.touch()
    pushing = replace(job, push=partial(push_missing, service.root, open_objects(str(remote))))
    done = rebuild(pushing)
    assert (done.outcome, current(service.root)) == (Outcome.FAILED, "r000002")
    assert str(remote) in str(done.error)
    remote.unlink()
    done = rebuild(pushing)
    assert (done.outcome, [*done.seconds][-1]) == (Outcome.NOTHING, "push")
    assert head(open_objects(str(remote))).state.current == "r000002"


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_rebuild_that_is_stopped_leaves_the_live_release_and_the_next_goes_on(
    sent: signal.Signals, code: int, service: Artifacts
) -> None:
    heard, said = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=wait_in_rebuild, args=(service.folder, said))
    process.start()
    said.close()
    assert heard.recv() == "reading"
    beside = rebuild(service.job(NEWER))
    assert (beside.outcome, beside.exit_code) == (Outcome.BUSY, 4)
    assert process.pid is not None
    os.kill(process.pid, sent)
    process.join(120)
    assert process.exitcode == code
    if sent is signal.SIGTERM:
        assert json.loads(heard.recv())["outcome"] == "stopped"
    assert current(service.root) == "r000001"
    done = rebuild(service.job(NEWER))
    assert (done.outcome, done.release_id) == (Outcome.PUBLISHED, "r000002")
    assert "n1" in Retriever.open(service.root).items
    left = {path.name for path in service.folder.iterdir()} | {path.name for path in service.root.iterdir()}
    assert not [name for name in left if name.endswith((".new", ".old")) or name.startswith(".aside")]
