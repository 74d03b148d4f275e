"""One rung, fitted and judged in a process of its own: its quality and what it took, as files."""

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from towers.data.dataset import read_dataset
from towers.data.signals.settings import SignalSettings
from towers.data.split import HeldOut, SplitSettings, split, with_fewer_profiles
from towers.errors import QueryError, TowersError, TrainingError
from towers.evaluation.evaluate import Metric, evaluate
from towers.evaluation.slices import slices_of
from towers.folders import replace_file
from towers.ladder.fingerprint import fingerprint
from towers.ladder.rungs import RungName, RungSettings, fit_rung
from towers.ladder.variants import Variant
from towers.ladder.verdict import Measured, Spent
from towers.processes import end_with_parent, forked
from towers.recommender import Queries, Recommender
from towers.training.settings import FitSettings

log = logging.getLogger(__name__)

VALUE_K = 10
"""Places of the N@k by which rungs are compared."""

_NUM_TIMED = 200
_NUM_WARM = 5

_PROCESSES = forked(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """All that decides what a rung's row says.

    tables: the folder of ingested tables. folder: of the climb; the row goes to rows/<name>.json and .npy.
    share: of the profiles that are learned from; below 1 a point of a learning curve, <name>@<share>.
    variant: what differs from the settings of the climb, of a variant; its row goes to variants/.
    """

    name: RungName
    tables: Path
    signals: SignalSettings
    split: SplitSettings
    rungs: RungSettings
    towers: FitSettings
    ks: tuple[int, ...]
    folder: Path
    share: float = 1.0
    variant: Variant | None = None

    @property
    def row_path(self) -> Path:
        """Where its row stands."""
        if self.variant is not None:
            return self.folder / "variants" / f"{self.variant.name}.json"
        point = "" if self.share == 1.0 else f"@{self.share:g}"
        return self.folder / "rows" / f"{self.name.value}{point}.json"

    @property
    def scratch(self) -> Path:
        """Where towers lay themselves down: those of a curve's point or a variant apart from the rung's."""
        if self.variant is not None and self.name is RungName.TOWERS:
            return self.folder / "variants" / self.variant.name
        return self.folder if self.share == 1.0 else self.folder / f"share_{self.share:g}"

    def fingerprint(self) -> str:
        """Of the data, the settings and the name: a row of another climb is never taken for this one's."""
        settings = (self.signals, self.split, self.rungs, self.towers)
        return fingerprint(self.tables, settings, (self.name, self.share, self.ks, self.variant))


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one rung.

    failure: why there is nothing else; None where all went well. evaluation: as Evaluation.to_json gives it.
    """

    name: RungName
    failure: str | None
    evaluation: Mapping[str, Any] | None
    measured: Measured | None


def measure_rung(job: Job) -> Row:
    """Fits and judges a rung in its own process, and gives its row; a rung that fails has a row that says so.

    A process, so that its memory is its own, and one that is killed takes nothing with it.
    """
    job.row_path.parent.mkdir(parents=True, exist_ok=True)
    job.row_path.unlink(missing_ok=True)
    child = _PROCESSES.Process(target=_measure, args=(job,), name=job.name.value)
    child.start()
    child.join()
    if not job.row_path.is_file():
        code = child.exitcode or 0
        reason = f"killed by signal {-code}; out of memory?" if code < 0 else f"ended with exit code {code}"
        _write(job, {"failure": reason})
    row = read_row(job)
    if row is None:
        raise QueryError(f"{job.row_path}: the row of {job.name} was changed while it was written")
    return row


def read_row(job: Job) -> Row | None:
    """The row that an earlier climb left, None where there is none of the same data and settings."""
    if not job.row_path.is_file():
        return None
    said = json.loads(job.row_path.read_text(encoding="utf-8"))
    if said.get("fingerprint") != job.fingerprint():
        return None
    if said["failure"] is not None:
        return Row(job.name, said["failure"], None, None)
    value = np.load(job.row_path.with_suffix(".npy"), allow_pickle=False)
    return Row(job.name, None, said["evaluation"], Measured(job.name.value, value, Spent(**said["spent"])))


def _measure(job: Job) -> None:
    """Runs in the child."""
    end_with_parent()
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",  # as the parent's: the lines stand among each other
    )
    try:
        _write(job, _measured(job))
    except (TowersError, MemoryError, ValueError, RuntimeError, ArithmeticError, OSError) as error:
        log.exception("rung failed name=%s", job.name)
        _write(job, {"failure": f"{type(error).__name__}: {error}"})


def _measured(job: Job) -> dict[str, Any]:
    dataset = read_dataset(job.tables, job.signals)
    parts = with_fewer_profiles(split(dataset, job.split), job.share, len(dataset.catalogue))
    rungs, towers = job.rungs, job.towers
    if job.variant is not None:
        rungs, towers = job.variant.of(rungs, towers, job.variant.name)
    before = _towers_spent(job) if job.name is RungName.TOWERS_FUSION else None
    began, used = time.perf_counter(), _cpu_seconds()
    rung = fit_rung(job.name, dataset, parts, rungs, towers, job.scratch)
    fit_seconds, core_seconds = time.perf_counter() - began, _cpu_seconds() - used
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    evaluation = evaluate(
        rung,
        parts.test,
        num_items=len(dataset.catalogue),
        ks=job.ks,
        num_watches=parts.num_watches,
        slices=slices_of(parts.test, dataset.items, parts.num_watches),
        name=job.name.value,
        show_progress=False,
    )
    on_gpu = job.name is RungName.TOWERS and torch.cuda.is_available()
    p50, p99 = _latency(rung, parts.test)
    spent = Spent(
        fit_seconds=fit_seconds + (before.fit_seconds if before else 0.0),
        fit_core_seconds=core_seconds + (before.fit_core_seconds if before else 0.0),
        fit_gpu_seconds=(fit_seconds if on_gpu else 0.0) + (before.fit_gpu_seconds if before else 0.0),
        peak_bytes=max(peak_bytes, before.peak_bytes if before else 0),
        size_bytes=size_bytes(rung),
        p50_seconds=p50,
        p99_seconds=p99,
    )
    np.save(job.row_path.with_suffix(".npy"), evaluation.per_query(Metric.NDCG.at(VALUE_K)))
    return {"failure": None, "spent": asdict(spent), "evaluation": evaluation.to_json()}


def _towers_spent(job: Job) -> Spent:
    """What the towers took that an ensemble takes over; TrainingError unless they are of this very climb."""
    row = read_row(replace(job, name=RungName.TOWERS, variant=None))
    if row is None or row.measured is None:
        raise TrainingError(
            f"{job.scratch / 'towers'}: no towers of this climb; climb {RungName.TOWERS} first"
        )
    return row.measured.spent


def _write(job: Job, said: Mapping[str, Any]) -> None:
    replace_file(job.row_path, json.dumps({"fingerprint": job.fingerprint(), **said}, indent=1))


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _latency(rung: Recommender, asked: HeldOut) -> tuple[float, float]:
    """Median and 99th percentile of the seconds of single queries, on one thread of torch."""
    queries = Queries(asked.history, asked.time_seconds, asked.country, asked.profiles)
    places = np.random.default_rng(0).permutation(len(queries))[: _NUM_TIMED + _NUM_WARM]
    singles = [queries.select(places[n : n + 1]) for n in range(len(places))]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for single in singles:
        began = time.perf_counter()
        rung.rank(single, VALUE_K)
        seconds.append(time.perf_counter() - began)
    torch.set_num_threads(num_threads)
    p50, p99 = np.quantile(seconds[_NUM_WARM:] or seconds, [0.5, 0.99])
    return float(p50), float(p99)


def size_bytes(value: object) -> int:
    """Bytes of all that a Recommender holds to answer from: arrays, tensors, models, each counted once."""
    return _size(value, set())


def _size(value: object, counted: set[int]) -> int:
    if id(value) in counted or value is None or isinstance(value, bool | int | float | type):
        return 0
    counted.add(id(value))
    match value:
        case np.ndarray() | pa.Table() | pa.Array() | pa.ChunkedArray():
            return int(value.nbytes)
        case torch.Tensor():
            return value.element_size() * value.nelement()
        case torch.nn.Module():
            return sum(_size(tensor, counted) for tensor in value.state_dict().values())
        case str() | bytes():
            return len(value)
        case Mapping():
            return sum(_size(key, counted) + _size(inner, counted) for key, inner in value.items())
        case list() | tuple() | set():
            return sum(_size(inner, counted) for inner in value)
    if hasattr(value, "model_to_string"):  # a LightGBM Booster lives outside Python
        return len(value.model_to_string())
    if is_dataclass(value):
        return sum(_size(getattr(value, item.name), counted) for item in fields(value))
    closed = getattr(value, "__closure__", None) or ()
    held = [cell.cell_contents for cell in closed] + list(getattr(value, "__dict__", {}).values())
    return sum(_size(inner, counted) for inner in held)
