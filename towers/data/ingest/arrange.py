"""Spilled events → one share of profiles at a time in the order of the tables: by profile, then by start."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from towers.data.ahead import computed_ahead
from towers.data.ingest.check import ITEM_ROW, Ledger
from towers.data.ingest.events import FILE, Spill, share_of
from towers.data.ingest.report import Outcome, Rule
from towers.data.ingest.rules import Policy
from towers.data.order import stable_order
from towers.data.raw import ROW, RawTable


@dataclass(frozen=True, slots=True)
class Arranged:
    """The events of one share of the profiles.

    profile_id: ids of its profiles, in their order in the profiles table; known: how many of them come first
    from that table of the source. num_events: int64 (p,), events of each. events: by profile, then start,
    then the order of the source; ITEM_ROW in place of the item's id.
    unknown, repeated: ROW, FILE and the rest of the events of unknown profiles, and of repeated ones.
    num_capped: events left out, as their profile has enough newer ones.
    """

    profile_id: pl.Series
    known: int
    num_events: Int64[np.ndarray, " p"]
    events: pa.Table
    unknown: pa.Table | None
    repeated: pa.Table
    num_capped: int = 0


def arranged_shares(
    spill: Spill, profile_id: pl.Series | None, *, keep_unknown: bool, most_events: int | None = None
) -> Iterator[Arranged]:
    """Every share in order, the next ones arranged ahead of the caller.

    profile_id: those of the profiles table, None where the source has none. most_events: so many are kept of
    a profile, the newest; all where None.
    """
    known = _by_share(profile_id, spill.num_shares)
    return computed_ahead(
        lambda number: _arranged(spill, number, known[number], keep_unknown, most_events),
        range(spill.num_shares),
    )


def settle(arranged: Arranged, raws: tuple[RawTable, ...], ledger: Ledger) -> None:
    """Enters into the ledger what was found out about a share: unknown profiles and repeated events."""
    ledger.added["profiles"] += len(arranged.profile_id) - arranged.known
    ledger.count("events", Rule.CONTRIBUTION, "", Outcome.WITHHELD, arranged.num_capped)
    groups = [
        (arranged.unknown, Rule.UNKNOWN_PROFILE, "profile_id", ledger.rules.unknown_profile),
        (arranged.repeated, Rule.DUPLICATE_EVENT, "start", ledger.rules.duplicate_event),
    ]
    for found, rule, column, policy in groups:
        if found is None or found.num_rows == 0:
            continue
        if rule is Rule.UNKNOWN_PROFILE and policy is Policy.REPAIR:
            ledger.count("events", rule, column, Outcome.REPAIRED, found.num_rows)
            continue
        rows = pl.DataFrame(found)
        for place, raw in enumerate(raws):
            of_file = rows.filter(pl.col(FILE) == place).drop(FILE)
            if of_file.height and policy is Policy.REJECT_FILE:
                ledger.refuse("events", rule, column, raw, of_file)
            ledger.reject("events", rule, column, raw, of_file)


def _by_share(profile_id: pl.Series | None, num_shares: int) -> list[pa.Array | None]:
    if profile_id is None:
        return [None] * num_shares
    share = share_of(profile_id, num_shares)
    order = np.argsort(share, kind="stable")
    stop = np.cumsum(np.bincount(share, minlength=num_shares))
    ids = profile_id[order].to_arrow(compat_level=pl.CompatLevel.oldest())
    return [ids.slice(a, b - a) for a, b in zip([0, *stop[:-1].tolist()], stop.tolist(), strict=True)]


def _arranged(
    spill: Spill, number: int, known: pa.Array | None, keep_unknown: bool, most_events: int | None
) -> Arranged:
    events = spill.share(number)
    if events.num_rows == 0:
        ids = pl.Series("profile_id", [], pl.String) if known is None else _series(known)
        return Arranged(
            ids, 0 if known is None else len(ids), np.zeros(len(ids), np.int64), events, None, events
        )
    coded = pc.dictionary_encode(events["profile_id"].combine_chunks())
    events = events.drop_columns("profile_id")
    code = coded.indices.to_numpy()
    new_ids, unknown = coded.dictionary, None
    num_known = 0
    if known is not None:
        row = pc.index_in(coded.dictionary, value_set=known)
        strange = pc.is_null(row).to_numpy(zero_copy_only=False)
        new_ids, num_known = coded.dictionary.filter(pa.array(strange)), len(known)
        row_of = np.where(strange, num_known + np.cumsum(strange) - 1, row.fill_null(0).to_numpy())
        is_unknown = np.take(strange, code)
        code = np.take(row_of.astype(np.int32), code)
        if is_unknown.any():
            unknown = events.append_column("profile_id", coded.cast(pa.large_string())).filter(
                pa.array(is_unknown)
            )
            if not keep_unknown:
                events, code = events.filter(pa.array(~is_unknown)), code[~is_unknown]
                new_ids = new_ids.slice(0, 0)
    ids = _series(new_ids) if known is None else pl.concat([_series(known), _series(new_ids)])
    start = events["start"].cast(pa.int64()).combine_chunks().to_numpy()
    order = stable_order(code, start)
    repeats = _repeats(code, start, events[ITEM_ROW].combine_chunks().to_numpy(), order)
    repeated = events.take(pa.array(order[repeats]))
    if len(repeated):
        owner = pa.array(ids.to_arrow()).cast(pa.large_string()).take(pa.array(code[order[repeats]]))
        repeated = repeated.append_column("profile_id", owner)
    order = order[~repeats]
    num_distinct = len(order)
    if most_events is not None:
        order = order[_newest(np.take(code, order), len(ids), most_events)]
    return Arranged(
        profile_id=ids,
        known=num_known,
        num_events=np.bincount(np.take(code, order), minlength=len(ids)),
        events=events.drop_columns([ROW, FILE]).take(pa.array(order)),
        unknown=unknown,
        repeated=repeated,
        num_capped=num_distinct - len(order),
    )


def _newest(code: np.ndarray, num_profiles: int, most: int) -> np.ndarray:
    """Which events, in order of profile and start, are among the last so many of their profile."""
    stop = np.cumsum(np.bincount(code, minlength=num_profiles))
    newest: np.ndarray = stop[code] - np.arange(len(code)) <= most
    return newest


def _series(ids: pa.Array) -> pl.Series:
    return pl.Series("profile_id", pa.array(ids).cast(pa.large_string()))


def _repeats(code: np.ndarray, start: np.ndarray, item: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Events, in the order given, whose profile has started the same item at the same time before."""
    repeats = np.zeros(len(order), bool)
    code, start, item = (np.take(column, order) for column in (code, start, item))
    same = (code[1:] == code[:-1]) & (start[1:] == start[:-1])
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    rows = np.flatnonzero(tied)
    if len(rows) == 0:
        return repeats
    # Moments that hold several events are few: only those are looked at item by item.
    moment = np.cumsum(~np.concatenate([[False], same])[rows])
    by_item = stable_order(moment, item[rows])
    moment, item = moment[by_item], item[rows][by_item]
    again = (moment[1:] == moment[:-1]) & (item[1:] == item[:-1])
    repeats[rows[by_item[1:][again]]] = True
    return repeats
