"""What newer tables say otherwise than a release, by digests that it holds and by those of its table."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrieval.rebuild.changes import Changes, changes_of
from retrieval.rebuild.live_titles import built_items, live_titles, rows_beside
from retrieval.release.digests import DIGESTS_FILE, digests, key_of, write_digests
from retrieval.release.store import open_release
from retrieval.release.titles import ITEMS_FILE, Lines, write_lines, write_titles
from retrieval.release.verify import entry_of
from tests.retrieval.rebuild.worlds import Artifacts, world
from towers.data.dataset import dataset_from_tables
from towers.data.features import FeatureSettings
from towers.data.schema import ITEMS, read_table, table
from towers.data.title_groups import same_rows, write_items
from towers.data.titles import Titles, TitlesOfFile
from towers.errors import SchemaError
from towers.nets.two_tower import load_towers

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
# Of a title that says as much as it can: what it says otherwise, column by column, null and empty among that.
OTHERWISE: list[dict[str, Any]] = [
    {"title": "Re\u0301sume"},
    {"title": ""},
    {"release_year": None},
    {"released": NOON.replace(microsecond=1000)},
    {"genres": ["Drama"]},
    {"genres": []},
    {"genres": None},
    {"sub_genres": [None]},
    {"sub_genres": ["", ""]},
    {"cast": ["Bo", "Ana"]},
    {"directors": ["ana"]},
    {"countries": None},
    {"language": ""},
    {"maturity": None},
    {"rating": 0.0},
    {"duration_minutes": 90.5},
    {"synopsis": None},
    {"embedding": [0.5, 1.0]},
    {"series_id": "s"},
    {"licences": []},
    {"licences": [None]},
    {"licences": [{"country": "GB", "start": None, "end": NOON}]},
    {"attributes": [{"name": "studio", "value": None}]},
]
WHOLE: dict[str, Any] = {
    "title": "R\u00e9sume",
    "release_year": 1999,
    "released": NOON,
    "genres": ["Drama", "Comedy"],
    "sub_genres": [""],
    "cast": ["Ana", "Bo"],
    "directors": ["Ana"],
    "countries": [],
    "language": None,
    "maturity": "PG",
    "rating": None,
    "duration_minutes": 90.0,
    "synopsis": "",
    "embedding": [0.5, 0.5],
    "series_id": None,
    "licences": [{"country": "GB", "start": NOON, "end": None}],
    "attributes": [{"name": "studio", "value": "A"}],
}
READ = {feature.column for feature in FeatureSettings().items} - {"item_id"}
"""What the towers of these tests read."""


def items(told: dict[str, dict[str, Any]]) -> pa.Table:
    """The titles of the world, which were watched, and these, which nobody watched."""
    ids = list(told)
    columns = {name: [told[one][name] for one in ids] for name in WHOLE}
    return pa.concat_tables([world().tables().items, table(ITEMS, {"item_id": ids, **columns})])


def said(item: pa.Table) -> dict[str, dict[str, Any]]:
    return {line["item_id"]: line for line in item.to_pylist()}


def found(
    service: Artifacts, before: pa.Table, now: pa.Table, *, kept: bool, lines: int = 0, in_order: bool = False
) -> tuple[Changes, pa.Table]:
    """The changes between two items tables, and the newer one as it is written.

    The last lines of the older one lie beside those of its build. in_order: so is the newer written.
    """
    live = open_release(service.root)
    for name in (ITEMS_FILE, DIGESTS_FILE):
        (live.folder / name).unlink()
    built = before.slice(0, before.num_rows - lines)
    write_titles(live.folder, built)
    entry = entry_of(live.folder / ITEMS_FILE)
    files = {**live.manifest.files, ITEMS_FILE: entry}
    if lines:
        last = Lines(np.arange(built.num_rows, before.num_rows), before.slice(built.num_rows))
        write_lines(live.folder, last)
        files["items_updates.parquet"] = entry
    if kept:
        write_digests(live.folder, digests(built, key_of(entry.sha256)))
    live = replace(live, manifest=replace(live.manifest, files=files))
    titles = live_titles(live)
    assert titles.is_kept is kept
    tables = service.folder / "newer"
    tables.mkdir()
    write_items(tables / "items.parquet", now, live.folder / ITEMS_FILE if in_order else None)
    same = same_rows(live.folder / ITEMS_FILE, tables / "items.parquet")
    now = read_table(tables, "items")
    dataset = dataset_from_tables(replace(world().tables(), items=now))
    dataset = replace(dataset, titles=TitlesOfFile(tables))
    return changes_of(live, load_towers(live.folder), dataset, titles, same), now


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("lines", [0, 9])
@pytest.mark.parametrize("num_rows", [2, 16, 1 << 16])
@pytest.mark.parametrize("in_order", [True, False])
def test_titles_that_say_anything_otherwise_are_found(
    kept: bool,
    lines: int,
    num_rows: int,
    in_order: bool,
    service: Artifacts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("towers.data.title_groups.GROUP_ROWS", num_rows)
    told = {f"x{row}": dict(WHOLE) for row in range(len(OTHERWISE) + 5)}
    before = items(told)
    newer = {one: line | other for (one, line), other in zip(told.items(), OTHERWISE, strict=False)}
    newer |= {"n1": WHOLE, "n0": WHOLE}
    newer |= {one: told[one] for one in list(told)[len(OTHERWISE) + 2 :]}  # two are removed
    now = items(newer)
    now = now.take(pa.array(np.random.default_rng(0).permutation(now.num_rows)))
    changes, now = found(service, before, now, kept=kept, lines=lines, in_order=in_order)
    was, ids = said(before), now["item_id"].to_pylist()
    rows = {one: row for row, one in enumerate(before["item_id"].to_pylist())}
    assert changes.live_row.tolist() == [rows.get(one, -1) for one in ids]
    differs = {
        one: {name for name in line if line[name] != was[one][name]}
        for one, line in said(now).items()
        if one in was
    }
    assert sum(map(bool, differs.values())) == len(OTHERWISE)
    assert changes.described.tolist() == [bool(differs.get(one)) for one in ids]
    assert changes.changed.tolist() == [bool(differs.get(one, set()) & READ) for one in ids]
    assert (changes.counts()["num_added"], changes.num_removed, changes.histories) == (2, 2, False)


@pytest.mark.parametrize("kept", [True, False])
def test_titles_in_another_order_are_the_same(kept: bool, service: Artifacts) -> None:
    before = items({"x0": WHOLE, "x1": WHOLE | OTHERWISE[0]})
    order = np.random.default_rng(1).permutation(before.num_rows)
    changes, _ = found(service, before, before.take(pa.array(order)), kept=kept)
    assert changes.live_row.tolist() == order.tolist()
    assert not changes.described.any()
    assert not changes.added.any()
    assert changes.num_removed == 0


def test_a_title_that_stands_twice_in_the_newer_tables_is_refused(service: Artifacts) -> None:
    live = open_release(service.root)
    titles = live_titles(live)
    before = read_table(service.folder / "tables", "items")
    for twice in (before.slice(0, 1), items({"x": WHOLE}).slice(before.num_rows)):
        rows = Titles(pa.concat_tables([before, twice, twice]))
        with pytest.raises(SchemaError, match="expected unique ids"):
            rows_beside(titles, rows, ())
    assert rows_beside(titles, Titles(before), ()).tolist() == list(range(before.num_rows))


def test_the_titles_that_are_live_are_given_by_their_file_where_that_is_sound(
    service: Artifacts, tmp_path: Path
) -> None:
    assert built_items(tmp_path) is None
    path = built_items(service.root)
    assert path == open_release(service.root).folder / ITEMS_FILE
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert built_items(service.root) is None
