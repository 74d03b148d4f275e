"""What a benchmark measured, and the record of it: figures, and the context they hold in."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.claims import BenchmarkError, Claim

FIGURES = Path(__file__).parent / "figures"
"""One JSON file per claim measured: the last figures that were committed."""

_PACKAGES = (
    *("torch", "faiss-cpu", "pytorch-lightning", "numpy", "polars", "pyarrow", "safetensors"),
    "two-tower-retrieval",
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The figures of one claim, and what they were measured on.

    figures: one per bound of the claim; None where it could not be measured.
    data: what it was measured on, for people.
    seeds: the seed of each repetition; empty where nothing is random.
    details: figures beside the claim's own, such as those of each repetition.
    """

    figures: dict[str, float | None]
    data: str
    seeds: Sequence[int] = ()
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A measurement as it is printed and committed."""

    claim: str
    figures: dict[str, float | None]
    context: dict[str, object]

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)


def record(claim: Claim, measured: Measurement) -> Record:
    """The record of a measurement made just now; BenchmarkError unless its figures are those promised."""
    if set(measured.figures) != set(claim.bounds):
        raise BenchmarkError(
            f"{claim.name}: measured {sorted(measured.figures)}; expected {sorted(claim.bounds)}"
        )
    for key, figure in measured.figures.items():
        if figure is not None and not math.isfinite(figure):
            raise BenchmarkError(
                f"{claim.name}: {key} is {figure}; expected a number, or none where not measured"
            )
    context: dict[str, object] = {
        "machine": machine(),
        "versions": _versions(),
        "commit": commit(),
        "data": measured.data,
        "seeds": list(measured.seeds),
        "command": f"make bench CLAIM={claim.name}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "details": measured.details,
    }
    return Record(claim.name, dict(measured.figures), context)


def save(made: Record, folder: Path = FIGURES) -> Path:
    """Writes the record to be committed, and gives its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{made.claim}.json"
    path.write_text(json.dumps(asdict(made), indent=2, allow_nan=False) + "\n")
    return path


def last_record(claim: Claim, folder: Path = FIGURES) -> Record | None:
    """The last committed record of a claim; None where it was never measured."""
    path = folder / f"{claim.name}.json"
    if not path.is_file():
        return None
    read = json.loads(path.read_text())
    return Record(read["claim"], read["figures"], read["context"])


def machine() -> dict[str, object]:
    """The machine that this runs on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_model() -> str:
    models = Path("/proc/cpuinfo")
    if models.is_file():
        for line in models.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit measured, marked where the tree has changes besides; None outside a repository."""
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return answer.stdout.strip() or None
