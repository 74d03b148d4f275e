"""The drift monitors at work: what a model learned from against newer logs, and whether a retrain is due."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float32, Int64

from towers.data.dataset import Dataset, read_dataset, rows_of
from towers.data.ingest.ingest import read_report
from towers.data.privacy.settings import PrivacySettings, privacy_of
from towers.data.privacy.state import lost_forgotten
from towers.data.schema import read_table
from towers.data.signals.settings import SignalSettings, signals_of
from towers.data.split import Split, SplitKind, split, split_of
from towers.errors import ConfigError, ReleaseError
from towers.evaluation.drift import (
    DriftReport,
    DriftSettings,
    Reading,
    embedding_reading,
    unknown_ids_reading,
)
from towers.evaluation.drift_decision import DriftCheck, decide
from towers.evaluation.schedule import Schedule, read_schedule
from towers.exported import read_context
from towers.ladder.decay_findings import SCHEDULE_FILE
from towers.ladder.drift_features import Comparison, compare
from towers.ladder.drift_inputs import Stretches, sample, span, stretches, with_taste
from towers.settings import check_ranges

log = logging.getLogger(__name__)

CHECK_FILE = "drift.json"

_ITEMS, _PROFILES, _UNWATCHED = "unknown items", "unknown profiles", "items without train events"
_VECTORS = "item vectors"


@dataclass(frozen=True, slots=True)
class Embedded:
    """An export's items: ids (n,), unit vectors float32 (n, D), and train events int64 (n,)."""

    item_id: pa.ChunkedArray
    vector: Float32[np.ndarray, "n D"]
    num_events: Int64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Learned:
    """What a model learned from.

    tables: their folder. cut_off_seconds: of the newest event that it learned from. privacy: what its tables
    were ingested under.
    first_seconds: of the first event of its log.
    """

    tables: Path
    signals: SignalSettings
    items: Embedded
    cut_off_seconds: int
    first_seconds: int
    privacy: PrivacySettings = field(default_factory=PrivacySettings)


def embedded(
    tables: Path, vector: Float32[np.ndarray, "n D"], num_events: Int64[np.ndarray, " m"]
) -> Embedded:
    """The vectors of an export with the ids of the tables that it was learned from.

    Raises ReleaseError where they are not as many, and as `read_table` does.
    """
    item_id = read_table(tables, "items")["item_id"]
    if not len(item_id) == len(vector) == len(num_events):
        raise ReleaseError(
            f"{tables}: {len(item_id)} titles for {len(vector)} vectors; expected the tables that the model "
            "learned from: run scripts/train.py"
        )
    return Embedded(item_id, vector, num_events)


def read_learned(artifacts: Path, items: Embedded) -> Learned:
    """What artifacts/model learned from artifacts/tables, under its own signals and split.

    Profiles that were forgotten since may be gone from the tables: the cut-off is that of the others. items:
    of the export. Under leave-one-out, which cuts every profile's log at a time of its own, the cut-off is
    the newest event of all. Raises ReleaseError where the tables are not those of the
    model, MissingDataError where either is not there.
    """
    tables = artifacts / "tables"
    context = read_context(artifacts / "model")
    signals, settings = signals_of(context), split_of(context)
    dataset = read_dataset(tables, signals)
    parts = split(dataset, settings)
    num_others = int((parts.num_watches != items.num_events).sum())
    if num_others and not lost_forgotten(tables, context):
        raise ReleaseError(
            f"{tables}: train events of {num_others} titles differ from those of {artifacts / 'model'}; "
            "expected the tables that the model learned from: run scripts/train.py"
        )
    first, last, _ = span(tables)
    newest = last if settings.kind is SplitKind.LEAVE_ONE_OUT else _newest_train(dataset, parts)
    return Learned(tables, signals, items, newest, first, privacy_of(context))


def schedule_of(artifacts: Path) -> Schedule | None:
    """The schedule that scripts/decay.py wrote; None where it wrote none. Raises as `read_schedule` does."""
    path = artifacts / "decay" / SCHEDULE_FILE
    return read_schedule(path) if path.exists() else None


def check_drift(
    learned: Learned,
    tables: Path,
    schedule: Schedule | None,
    settings: DriftSettings,
    *,
    now: str | None = None,
    against: Embedded | None = None,
) -> tuple[DriftCheck, tuple[Comparison, ...]]:
    """Whether a retrain is due now, and each feature compared.

    tables: of the newer log, as ingested; its events after the cut-off and up to now count. now: as
    `seconds_of` takes it. against: a newer export, whose vectors are compared with the model's.
    Raises MissingDataError where there are no such tables, ConfigError on a setting.
    """
    check_ranges(settings, "drift")
    cut_off, now_seconds = learned.cut_off_seconds, seconds_of(now)
    _, newest, num_events = span(tables, after=cut_off, until=now_seconds)
    readings: list[Reading] = []
    noted: list[Reading] = []
    compared: tuple[Comparison, ...] = ()
    unread: dict[str, str] = {}
    num_train = num_live = 0
    length = 0.0
    if num_events:
        where = stretches(
            cut_off, newest_seconds=newest, first_seconds=learned.first_seconds, days=settings.days
        )
        train, live = _samples(learned, tables, where)
        num_train, num_live, length = train.height, live.height, where.days
        compared, why = compare(train, live, settings)
        unread |= {feature.value: reason for feature, reason in why.items()}
        readings, noted = _ids(learned, live, settings)
        readings += [each.reading for each in compared]
    if against is not None:
        old, new = _matched(learned.items, against)
        if len(old) > old.shape[1] == new.shape[1]:
            readings.append(embedding_reading(_VECTORS, old, new, settings))
        else:
            unread[_VECTORS] = (
                f"{len(old)} titles that both learned from in {old.shape[1]} and {new.shape[1]} dimensions; "
                "expected equal dimensions, and more titles"
            )
    reason = decide(
        schedule,
        trained_seconds=cut_off,
        now_seconds=now_seconds,
        drifted=DriftReport(tuple(readings)).drifted,
    )
    check = DriftCheck(
        title=read_report(tables).title,
        reason=reason,
        cut_off_seconds=cut_off,
        now_seconds=now_seconds,
        scheduled=schedule is not None,
        every_days=None if schedule is None else schedule.every_days,
        shortest_days=None if schedule is None else schedule.settings.shortest_days,
        num_events=num_events,
        num_train=num_train,
        num_live=num_live,
        days=length,
        readings=tuple(readings),
        noted=tuple(noted),
        moved={each.feature.value: each.moved for each in compared},
        unread=unread,
    )
    log.info(
        "checked drift num_events=%d num_triggered=%d reason=%s",
        num_events, len(check.triggered), reason.value,
    )  # fmt: skip
    return check, compared


def seconds_of(moment: str | None) -> int:
    """Unix seconds of a moment in ISO 8601, UTC where it names no zone; the clock's without one.

    Raises ConfigError on any other text.
    """
    if moment is None:
        return int(datetime.now(UTC).timestamp())
    try:
        found = datetime.fromisoformat(moment)
    except ValueError as error:
        raise ConfigError(
            f"now: {moment!r}; expected a moment in ISO 8601, as in 2024-05-31T04:00"
        ) from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _samples(learned: Learned, tables: Path, where: Stretches) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of train and of the newer log; tastes of both are known by what the model learned from."""
    train = sample(learned.tables, where.train)
    live = sample(tables, where.live)
    return (
        with_taste(train, learned.tables, where.train_cut_off_seconds),
        with_taste(live, learned.tables, where.cut_off_seconds),
    )


def _ids(
    learned: Learned, live: pl.DataFrame, settings: DriftSettings
) -> tuple[list[Reading], list[Reading]]:
    """What the model has no id for. Unknown titles count: it cannot show them.

    Reported apart: unknown profiles, as it reads histories and no profile ids, and titles that it knows by
    their metadata alone.
    """
    item = rows_of(pa.chunked_array([live["item_id"].to_arrow()]).cast(pa.string()), learned.items.item_id)
    profile_id = read_table(learned.tables, "profiles")["profile_id"]
    profile = rows_of(pa.chunked_array([live["profile_id"].to_arrow()]).cast(pa.string()), profile_id)
    unwatched = (item >= 0) & (learned.items.num_events[item] == 0)
    unknown = unknown_ids_reading(_ITEMS, int((item < 0).sum()), len(item), settings)
    noted = [
        unknown_ids_reading(subject, int(count), len(item), settings)
        for subject, count in ((_PROFILES, (profile < 0).sum()), (_UNWATCHED, unwatched.sum()))
    ]
    return [unknown], noted


def _matched(first: Embedded, second: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the titles that both learned from, row by row the same title."""
    row = rows_of(first.item_id, second.item_id)
    both = np.flatnonzero((row >= 0) & (first.num_events > 0))
    both = both[second.num_events[row[both]] > 0]
    return first.vector[both], second.vector[row[both]]


def _newest_train(dataset: Dataset, parts: Split) -> int:
    """The time of the newest train event; each history is in order of time."""
    some = np.flatnonzero(parts.num_train)
    last = dataset.history.offset[some] + parts.num_train[some] - 1
    return int(dataset.history.time_seconds[last].max())
