"""Claim `input-audit`: planted under-served segments are found, and nobody is accused where nobody is.

Of the planted worlds half have a segment that watches half as much, half one of which half the profiles are
missing; the population meant is that which the simulator draws from.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.measurement import Measurement
from towers.audit.reference import Reference, reference
from towers.audit.representation import Finding, SegmentAudit, audit_segments
from towers.audit.segments import read_audience
from towers.data.schema import Tables
from towers.data.simulator.segments import members, population
from towers.data.sources.simulated import SimulatedSettings, World, simulate

SEGMENTS = (
    *("country=KR", "country=PL", "country=NG", "country=GB", "country=JP"),
    *("age_band=65+", "age_band=7-12", "language=ko", "language=es", "subdivision=US-FL"),
)
NUM_UNPLANTED = 200
NUM_PROFILES, NUM_EVENTS, NUM_ITEMS = 6000, 90_000, 400
LACKS = 0.5


def measure(num_unplanted: int = NUM_UNPLANTED, segments: tuple[str, ...] = SEGMENTS) -> Measurement:
    """The share of planted segments found, and of unplanted worlds in which any segment is accused."""
    meant = reference(population(SimulatedSettings().kids_share))
    planted = {}
    for number, segment in enumerate(segments):
        quiet = simulate(_settings(number, segment))
        planted[f"{segment}, half the events"] = segment in accused(quiet.tables, meant)
        whole = simulate(_settings(number, None))
        planted[f"{segment}, half the profiles"] = segment in accused(without_half(whole, segment), meant)
    alarms: list[list[str]] = []
    lowest = Counter[str]()
    for number in range(num_unplanted):
        found = accused(simulate(_settings(1000 + number, None)).tables, meant)
        alarms.append(found)
        lowest.update(found)
    false_alarms = sum(bool(found) for found in alarms)
    return Measurement(
        figures={
            "planted_found_share": sum(planted.values()) / len(planted),
            "false_alarm_share": false_alarms / num_unplanted,
        },
        data=f"simulated services of {NUM_PROFILES:,} profiles and {NUM_EVENTS:,} events, "
        f"{len(planted)} planted, {num_unplanted} not",
        seeds=(*range(len(segments)), 1000, 1000 + num_unplanted - 1),
        details={"planted": planted, "false alarms": dict(lowest), "num_false_alarms": false_alarms},
    )


def accused(tables: Tables, meant: Reference) -> list[str]:
    """The names of the segments called under-served."""
    rows = audited(tables, meant)
    return [row.name for row in rows if row.finding is Finding.UNDER_SERVED]


def audited(tables: Tables, meant: Reference) -> tuple[SegmentAudit, ...]:
    """Every segment of these tables."""
    events = pl.from_arrow(tables.events)
    assert isinstance(events, pl.DataFrame)
    return audit_segments(read_audience(tables.profiles, events.lazy()), meant)


def without_half(world: World, segment: str) -> Tables:
    """The tables without half of the households' profiles in a segment, and without their events."""
    rng = np.random.default_rng(world.settings.seed)
    gone_households = rng.random(int(world.audience.household.max()) + 1) < LACKS
    gone = members(world.audience, segment) & gone_households[world.audience.household]
    kept = ~gone[world.watches["profile_row"]]
    tables = world.tables
    return Tables(
        tables.items,
        tables.events.filter(pa.array(kept)),
        tables.profiles.filter(pa.array(~gone)),
        tables.queries.slice(0, 0),
    )


def _settings(seed: int, segment: str | None) -> SimulatedSettings:
    usual = SimulatedSettings(
        num_events=NUM_EVENTS, num_profiles=NUM_PROFILES, num_items=NUM_ITEMS, seed=seed
    )
    return usual if segment is None else replace(usual, underserved=LACKS, underserved_segment=segment)
