"""Sequence files of the sequential recommenders: who chose what in which order, without any time.

Format: S3-Rec's `user item item …` on a line for each user, with a JSON of item → attribute ids; or SASRec's
`user item` on a line for each event, in the order of each user.
Sources: K. Zhou et al., S3-Rec, CIKM 2020, doi:10.1145/3340531.3411954; W.-C. Kang and J. McAuley,
Self-Attentive Sequential Recommendation, ICDM 2018, doi:10.1109/ICDM.2018.00035.
"""

import gzip
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable
from towers.data.sources.careful import BLANKS
from towers.data.sources.lines import TextFormat, scan_lines, scan_text
from towers.errors import MissingDataError, ParseError

EPOCH_MS = 946_684_800_000
"""1 January 2000, 00:00 UTC: where the made-up times begin."""


class SequenceForm(StrEnum):
    """What stands on a line."""

    USERS = "users"
    """`user item item …`, one user a line."""
    EVENTS = "events"
    """`user item`, one event a line."""


@dataclass(frozen=True, slots=True)
class SequenceSettings:
    """A sequence file, plain or .gz, and what its lines hold.

    attributes: the JSON of item → attribute ids that belongs to it, plain or .gz; null where there is none.
    """

    path: str
    form: SequenceForm = SequenceForm.USERS
    attributes: str | None = None

    @property
    def title(self) -> str:
        """What a report calls this data."""
        path = Path(self.path).resolve()
        return f"{path.parent.name}/{path.name}"


def read_sequences(settings: SequenceSettings) -> RawSource:
    """The events of a sequence file in their order; items, by id alone, where attributes are given.

    These files know no time. An event starts one second after the one before it, from 1 January 2000, of its
    user (users) or in its file (events): the order is the file's, and the calendar means nothing, so split
    such data by leaving one out, never by time. Attribute ids are the genres of an item.

    Raises MissingDataError where a file is not there, ParseError where the JSON is not such a map.
    """
    path = Path(settings.path)
    match settings.form:
        case SequenceForm.USERS:
            frame = _of_users(path)
        case SequenceForm.EVENTS:
            frame = _of_events(path)
    items = () if settings.attributes is None else (_items(Path(settings.attributes), frame),)
    return RawSource(items, (RawTable(path, frame),))


def _of_users(path: Path) -> pl.LazyFrame:
    lines = scan_lines(path).filter(pl.col(TEXT).str.strip_chars(BLANKS) != "")
    words = (
        pl.col(TEXT).str.split(" ").list.eval(pl.element().filter(pl.element().str.strip_chars(BLANKS) != ""))
    )
    has_items = pl.col("words").list.len() > 1
    fault = pl.coalesce(FAULT, pl.when(~has_items).then(pl.lit("a user without items")))
    return (
        lines.with_columns(words.alias("words"))
        .select(
            ROW,
            fault.alias(FAULT),
            # Of an event, the line of all events of its user says too much.
            pl.when(fault.is_not_null()).then(TEXT).alias(TEXT),
            pl.col("words").list.first().alias("profile_id"),
            # Null, not empty: a user without items keeps a row, which tells the fault.
            pl.when(has_items).then(pl.col("words").list.slice(1)).alias("item_id"),
            pl.when(has_items).then(pl.int_ranges(1, pl.col("words").list.len())).alias("place"),
        )
        .explode("item_id", "place")
        .select(pl.exclude("place"), _start(pl.col("place")))
    )


def _of_events(path: Path) -> pl.LazyFrame:
    form = TextFormat(" ", has_header=False, quoted=False)
    return scan_text(path, ["profile_id", "item_id"], form).with_columns(_start(pl.col(ROW)))


def _start(place: pl.Expr) -> pl.Expr:
    return (EPOCH_MS + 1000 * place.cast(pl.Int64)).cast(pl.Datetime("ms", "UTC")).alias("start")


def _items(path: Path, events: pl.LazyFrame) -> RawTable:
    """The items of the JSON and, after them, those that only the events know."""
    named = _attributes(path)
    known = pl.DataFrame(
        {"item_id": list(named), "genres": list(named.values())},
        schema={"item_id": pl.String(), "genres": pl.List(pl.String())},
    )
    watched = events.select("item_id").drop_nulls().unique(maintain_order=True).collect()
    others = watched.filter(~pl.col("item_id").is_in(known["item_id"].implode()))
    items = pl.concat([known, others], how="diagonal").with_row_index(ROW, offset=1)
    return RawTable(path, items.with_columns(title="item_id").lazy())


def _attributes(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file")
    raw = path.read_bytes()
    try:
        found: Any = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (ValueError, OSError, EOFError) as error:
        raise ParseError(f"{path}: {error}; expected JSON of item → attribute ids") from error
    if not isinstance(found, dict) or not all(isinstance(ids, list) for ids in found.values()):
        raise ParseError(f"{path}: found no map of lists; expected JSON of item → attribute ids")
    return {str(item): [str(each) for each in ids] for item, ids in found.items()}
