"""Folders of ingested tables: places that too few share told more coarsely, profiles taken out for good."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towers.data.ingest.canonical import rewrite_events
from towers.data.ingest.report import REPORT_FILE, Count, Outcome, Rule, read_report
from towers.data.privacy.cells import coarse_cells, coarsened, often_asked, recoded
from towers.data.privacy.forgotten import Forgotten
from towers.data.privacy.state import state_of
from towers.data.schema import NUM_EVENTS_FILE, SCHEMAS, read_table
from towers.folders import replace_folder

log = logging.getLogger(__name__)

PLACES = {
    "events": ("country", "region"),
    "profiles": ("country", "region", "postal_code"),
    "queries": ("country",),
}
"""The columns that say where, the coarsest first."""

_REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Erased:
    """Rows of forgotten profiles that were taken out of a folder of tables, by table; {} where none stood."""

    num_rows: Mapping[str, int]

    @property
    def num_profiles(self) -> int:
        """How many profiles were in it."""
        return self.num_rows.get("profiles", 0)


def coarsen_events(path: Path, least: int) -> int:
    """Tells the places of an events.parquet so coarsely that `least` share each; gives the rows changed."""
    columns = PLACES["events"]
    if least <= 1:
        return 0
    members = pl.scan_parquet(path).select("profile_id", *columns).unique().collect(engine="streaming")
    if all(members[name].null_count() == members.height for name in columns):
        return 0
    cells = coarse_cells(members, "profile_id", columns, least)
    num_changed = 0

    def coarser(events: pa.Table) -> pa.Table:
        nonlocal num_changed
        told, num = recoded(pl.DataFrame(events.select(columns)), columns, cells)
        num_changed += num
        for name in columns:
            place = events.schema.get_field_index(name)
            events = events.set_column(
                place, events.schema.field(name), told[name].to_arrow().cast(pa.string())
            )
        return events

    rewrite_events(path, coarser)
    return num_changed


def erase_from_tables(folder: Path, forgotten: Forgotten) -> Erased:
    """Takes the forgotten profiles out of a folder of tables, which is replaced as a whole, or left as it is.

    What is left is what an ingest would have made without them, in the same order: their rows are in no
    table, searches and places that too few share without them are gone too, and the training store and the
    data card are made anew where they are asked for. Rejected rows of people go as a whole where they were
    not withheld: whose they were, a broken record does not say. Killed in between, it can be called again.
    """
    ids = read_table(folder, "profiles")["profile_id"].to_pylist()
    gone = forgotten.places(ids)
    if not gone:
        return Erased({})
    names = pa.array([ids[place] for place in gone], pa.string())
    kept = np.ones(len(ids), bool)
    kept[gone] = False
    erased: dict[str, int] = {}
    replace_folder(folder, lambda aside: erased.update(_write_without(folder, aside, names, kept)))
    log.info(
        "erased from tables folder=%s num_profiles=%d num_events=%d num_queries=%d",
        *(folder, erased["profiles"], erased["events"], erased["queries"]),
    )
    return Erased(erased)


def _write_without(folder: Path, aside: Path, gone: pa.Array, kept: np.ndarray) -> dict[str, int]:
    report = read_report(folder)
    shutil.copyfile(folder / "items.parquet", aside / "items.parquet")
    shutil.copyfile(folder / "events.parquet", aside / "events.parquet")
    rewrite_events(aside / "events.parquet", lambda events: _without(events, gone))
    num_coarser = {"events": coarsen_events(aside / "events.parquet", report.min_profiles_per_place)}
    tables = {
        name: pl.DataFrame(_without(read_table(folder, name), gone)) for name in ("profiles", "queries")
    }
    num_asked = tables["queries"].height
    tables["queries"] = often_asked(tables["queries"], report.min_profiles_per_query)
    for name, table in tables.items():
        coarse, num_coarser[name] = coarsened(
            table, "profile_id", PLACES[name], report.min_profiles_per_place
        )
        pq.write_table(coarse.to_arrow().cast(SCHEMAS[name]), aside / f"{name}.parquet", compression="zstd")
    np.save(aside / NUM_EVENTS_FILE, np.load(folder / NUM_EVENTS_FILE)[kept])
    _keep_rejected(folder / _REJECTED, aside / _REJECTED)
    rows = {name: pq.ParquetFile(aside / f"{name}.parquet").metadata.num_rows for name in SCHEMAS}
    rare = num_asked - rows["queries"]
    num_gone = {
        name: report.num_written[name] - rows[name] - (rare if name == "queries" else 0) for name in rows
    }
    counts = [
        *(Count(name, Rule.FORGOTTEN, "", Outcome.WITHHELD, num) for name, num in num_gone.items() if num),
        *(
            Count(name, Rule.RARE_PLACE, "", Outcome.COARSENED, num)
            for name, num in num_coarser.items()
            if num
        ),
        *([Count("queries", Rule.RARE_TEXT, "text", Outcome.WITHHELD, rare)] if rare else []),
    ]
    left = replace(
        report,
        num_written=rows,
        counts=_joined([*report.counts, *counts]),
        erased_from=(*report.erased_from, state_of(folder)),
    )
    (aside / REPORT_FILE).write_text(json.dumps(left.to_json(), indent=1), encoding="utf-8")
    return num_gone


def _without(table: pa.Table, gone: pa.Array) -> pa.Table:
    return table.filter(pc.invert(pc.fill_null(pc.is_in(table["profile_id"], value_set=gone), False)))


def _keep_rejected(folder: Path, aside: Path) -> None:
    """What was rejected of titles, and what tells nothing of people."""
    for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else ():
        table = pq.read_table(path)
        withheld = not pc.any(pc.not_equal(table["record"], "")).as_py()
        if path.stem == "items" or withheld:
            aside.mkdir(exist_ok=True)
            shutil.copyfile(path, aside / path.name)


def _joined(counts: list[Count]) -> tuple[Count, ...]:
    """Counts of one rule together, in a fixed order."""
    found: dict[tuple[str, str, str, Outcome], Count] = {}
    for one in counts:
        key = (one.table, str(one.rule), one.column, one.outcome)
        before = found.get(key)
        found[key] = one if before is None else replace(before, num_rows=before.num_rows + one.num_rows)
    return tuple(found[key] for key in sorted(found))
