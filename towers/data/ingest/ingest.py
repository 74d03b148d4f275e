"""A source → a folder of canonical tables: checked, in order, with what was rejected and a report."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from towers.data.id_index import IdIndex
from towers.data.ingest.arrange import arranged_shares, settle
from towers.data.ingest.canonical import EventsFile
from towers.data.ingest.check import Ledger, checked, empty_columns
from towers.data.ingest.entities import bare, check_any, no_entities, read_entities
from towers.data.ingest.events import (
    Items,
    Spill,
    kept_events,
    known_items,
    known_profiles,
)
from towers.data.ingest.places import with_places
from towers.data.ingest.rejected import RejectedRows
from towers.data.ingest.report import REPORT_FILE, IngestReport, Outcome, Rule, read_report
from towers.data.ingest.rules import Policy, RuleSettings, check_rules
from towers.data.privacy.cells import coarsened, newest, often_asked
from towers.data.privacy.guard import Guard
from towers.data.privacy.tables import PLACES, coarsen_events
from towers.data.raw import RawSource, RawTable
from towers.data.schema import ITEMS, NUM_EVENTS_FILE, PROFILES, QUERIES, SCHEMAS
from towers.data.signals.query_plays import played_after
from towers.data.title_groups import write_items
from towers.errors import SchemaError
from towers.folders import replace_folder

__all__ = ["REJECTED_FOLDER", "REPORT_FILE", "ingest", "read_report"]

log = logging.getLogger(__name__)

REJECTED_FOLDER = "rejected"
"""One Parquet file per table that lost rows (`REJECTED`)."""

_SHARE_EVENTS = 1_000_000
_MAX_SHARES = 1024


def ingest(
    source: RawSource,
    title: str,
    folder: Path,
    rules: RuleSettings,
    query_window_minutes: float = 30.0,
    guard: Guard | None = None,
    order_of: Path | None = None,
) -> IngestReport:
    """Checks a source and writes its tables, replacing the folder as a whole.

    Writes items, profiles, queries and events.parquet (`towers.data.schema`), REPORT_FILE, NUM_EVENTS_FILE
    and REJECTED_FOLDER. Items are in the order of the source, or of an older items file, `order_of`, as
    `title_groups.write_items` has it; profiles by a hash of their id, so that a run of them is a sample;
    events by profile and start, equal starts in the order of the source. Memory is that of the items, the
    profiles, and a few million events, however many there are. Where the source never says what was played
    after a query, it gets its profile's next event within the window.
    guard: what may be kept of people (`privacy.guard.guard_of`); everything, as it is, without one.

    Raises SchemaError where a policy refuses a file, nothing is left, or too many rows would be lost;
    ConfigError on settings out of range. The folder then stays as it was.
    """
    check_rules(rules, "rules")
    began = time.monotonic()
    reports: list[IngestReport] = []
    replace_folder(
        folder,
        lambda aside: reports.append(
            _write(source, title, aside, rules, query_window_minutes, guard or Guard(), order_of, began)
        ),
    )
    report = reports[0]
    for name in SCHEMAS:
        log.info(
            "ingested table=%s num_read=%d num_written=%d num_rejected=%d num_added=%d",
            name, report.num_read[name], report.num_written[name],
            report.num_rejected(name), report.added[name],
        )  # fmt: skip
    log.info("ingest finished folder=%s seconds=%.1f", folder, report.seconds)
    return report


def _write(
    source: RawSource,
    title: str,
    folder: Path,
    rules: RuleSettings,
    query_window_minutes: float,
    guard: Guard,
    order_of: Path | None,
    began: float,
) -> IngestReport:
    with RejectedRows(folder / REJECTED_FOLDER) as rejected:
        report = _written(source, title, folder, Ledger(rules, rejected, guard), order_of, began)
    _check_losses(report, rules)
    _join_plays(folder, query_window_minutes)
    (folder / REPORT_FILE).write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    return report


def _written(
    source: RawSource, title: str, folder: Path, ledger: Ledger, order_of: Path | None, began: float
) -> IngestReport:
    rules = ledger.rules
    spill_folder = folder / "spill"
    spill_folder.mkdir()
    grows = not source.items or rules.unknown_item is Policy.REPAIR
    items = Items(read_entities("items", source.items, ledger), grows)
    profiles = read_entities("profiles", source.profiles, ledger) if source.profiles else None
    spill = Spill(spill_folder, _num_shares(source.events))
    with _progress() as step:
        step("reading events", None)
        spill.fill(kept_events(source.events, items, ledger))
        queries = _read_queries(source.queries, items, profiles, ledger)
        check_any(items.known, title, ledger)
        written, num_events = _write_events(folder, source, spill, items, profiles, queries, ledger, step)
    write_items(folder / "items.parquet", items.known.to_arrow().cast(ITEMS), order_of)
    _remove(spill_folder)
    num_coarser = coarsen_events(folder / "events.parquet", ledger.guard.settings.min_profiles_per_place)
    ledger.count("events", Rule.RARE_PLACE, "", Outcome.COARSENED, num_coarser)
    for name, count in source.repaired.items():
        ledger.count("items", name, "", Outcome.REPAIRED, count)
    np.save(folder / NUM_EVENTS_FILE, num_events)
    return IngestReport(
        title=title,
        num_read={name: ledger.num_read[name] for name in SCHEMAS},
        num_written=written,
        added={name: ledger.added[name] for name in SCHEMAS},
        counts=ledger.counts,
        seconds=time.monotonic() - began,
        key_name=None if ledger.guard.key is None else ledger.guard.key.name,
        min_profiles_per_place=ledger.guard.settings.min_profiles_per_place,
        min_profiles_per_query=ledger.guard.settings.min_profiles_per_query,
    )


def _write_events(
    folder: Path,
    source: RawSource,
    spill: Spill,
    items: Items,
    profiles: pl.DataFrame | None,
    queries: pl.DataFrame,
    ledger: Ledger,
    step: Callable[[str, float | None], None],
) -> tuple[dict[str, int], np.ndarray]:
    """Writes all tables but the items; gives the rows of each, and the events of each profile."""
    ids, num_events = [], []
    shares = arranged_shares(
        spill,
        None if profiles is None else profiles["profile_id"],
        keep_unknown=ledger.rules.unknown_profile is Policy.REPAIR,
        most_events=ledger.guard.settings.max_events_per_profile,
    )
    with EventsFile(folder / "events.parquet", items.known["item_id"]) as events:
        for number, arranged in enumerate(shares):
            step("writing events", number / spill.num_shares)
            settle(arranged, source.events, ledger)
            events.write(arranged)
            ids.append(arranged.profile_id)
            num_events.append(arranged.num_events)
    profile_id = pl.concat(ids)
    counts = np.concatenate(num_events)
    asking = queries["profile_id"].drop_nulls().unique(maintain_order=True)
    silent = asking.filter(~asking.is_in(profile_id.implode()))
    ledger.added["profiles"] += len(silent)
    profile_id = pl.concat([profile_id, silent])
    counts = np.concatenate([counts, np.zeros(len(silent), np.int64)])
    least = ledger.guard.settings.min_profiles_per_place
    table, num_coarser = coarsened(
        _profiles_in_order(profile_id, profiles), "profile_id", PLACES["profiles"], least
    )
    ledger.count("profiles", Rule.RARE_PLACE, "", Outcome.COARSENED, num_coarser)
    for name, frame, schema in (("profiles", table, PROFILES), ("queries", queries, QUERIES)):
        pq.write_table(frame.to_arrow().cast(schema), folder / f"{name}.parquet", compression="zstd")
    rows = {
        "items": items.known.height,
        "events": events.num_rows,
        "profiles": table.height,
        "queries": queries.height,
    }
    return rows, counts


def _join_plays(folder: Path, window_minutes: float) -> None:
    """Fills in what was played after the queries, where the source never says it."""
    path = folder / "queries.parquet"
    queries = pl.read_parquet(path)
    if queries["item_id"].null_count() < queries.height:
        return  # what says it of some means by null that nothing was
    events = pl.scan_parquet(folder / "events.parquet")
    joined = played_after(queries.lazy(), events, window_minutes=window_minutes).collect(engine="streaming")
    num_joined = queries.height - joined["item_id"].null_count()
    log.info("joined queries to plays num_queries=%d num_joined=%d", queries.height, num_joined)
    pq.write_table(joined.to_arrow().cast(QUERIES), path, compression="zstd")


def _profiles_in_order(profile_id: pl.Series, profiles: pl.DataFrame | None) -> pl.DataFrame:
    """The rows of the profiles table in the order of the ids; bare ones where it has none."""
    if profiles is None:
        return bare("profiles", profile_id)
    return profile_id.to_frame().join(profiles, on="profile_id", how="left", maintain_order="left")


def _read_queries(
    raws: tuple[RawTable, ...], items: Items, profiles: pl.DataFrame | None, ledger: Ledger
) -> pl.DataFrame:
    """All queries that keep the rules; one of an unknown item or profile is dealt with as an event is."""
    parts = []
    known = None if profiles is None else IdIndex(profiles["profile_id"])
    for raw in raws:
        for batch in checked("queries", raw, ledger):
            kept = known_items("queries", raw, batch, items, ledger) if "item_id" in batch.columns else batch
            if known is not None and "profile_id" in kept.columns:
                kept = known_profiles(raw, kept, known, ledger)
            parts.append(empty_columns("queries", with_places("queries", raw, kept, ledger)))
    return _guarded_queries(pl.concat(parts), ledger) if parts else no_entities("queries")


def _guarded_queries(queries: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """The searches without those that stand for too few, or are too many of one profile."""
    settings = ledger.guard.settings
    capped = newest(queries, settings.max_events_per_profile)
    often = often_asked(capped, settings.min_profiles_per_query)
    kept, num_coarser = coarsened(often, "profile_id", PLACES["queries"], settings.min_profiles_per_place)
    ledger.count("queries", Rule.CONTRIBUTION, "", Outcome.WITHHELD, queries.height - capped.height)
    ledger.count("queries", Rule.RARE_TEXT, "text", Outcome.WITHHELD, capped.height - often.height)
    ledger.count("queries", Rule.RARE_PLACE, "", Outcome.COARSENED, num_coarser)
    return kept


def _num_shares(raws: tuple[RawTable, ...]) -> int:
    """Shares of about _SHARE_EVENTS events, by the size of the files; a guess that only memory depends on."""
    num_events = sum(_about_num_rows(raw) for raw in raws)
    return int(np.clip(round(num_events / _SHARE_EVENTS), 1, _MAX_SHARES))


def _about_num_rows(raw: RawTable) -> int:
    if raw.path.suffix == ".parquet" and raw.path.is_file():
        return int(pq.ParquetFile(raw.path).metadata.num_rows)
    if raw.path.is_file():
        return raw.path.stat().st_size // (8 if raw.path.suffix == ".gz" else 32)
    num_rows: int = raw.frame.select(pl.len()).collect(engine="streaming").item()
    return num_rows


def _check_losses(report: IngestReport, rules: RuleSettings) -> None:
    for name, num_read in report.num_read.items():
        lost = report.num_rejected(name)
        if num_read and lost / num_read > rules.max_rejected_share:
            worst = max(
                (c for c in report.counts if c.table == name and c.outcome is Outcome.REJECTED),
                key=lambda c: c.num_rows,
            )
            raise SchemaError(
                f"{report.title}: {lost} of {num_read} {name} would be rejected, most ({worst.num_rows}) by "
                f"{worst.rule} of {worst.column or 'the record'}, first at {worst.example}; expected at most "
                f"rules.max_rejected_share={rules.max_rejected_share:g}: are columns and units right?"
            )


@contextmanager
def _progress() -> Iterator[Callable[[str, float | None], None]]:
    """A function that shows what is being done and the share done so far, None where nobody knows."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("ingest", total=None)

        def step(doing: str, share: float | None) -> None:
            total = None if share is None else 1.0
            bar.update(task, description=doing, total=total, completed=share or 0.0)

        yield step


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
