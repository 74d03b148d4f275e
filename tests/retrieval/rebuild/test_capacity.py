"""Disk and memory are looked at before any work begins."""

from pathlib import Path

import pytest

from retrieval.rebuild.capacity import Needs, Sizes, available_bytes, needs_of, require_capacity
from retrieval.rebuild.plan import Work
from retrieval.release.manifest import FileEntry, Manifest
from tests.retrieval.release.publisher import description
from towers.errors import CapacityError, StorageError


def test_the_least_of_machine_and_container_is_available(tmp_path: Path) -> None:
    memory, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    cgroup.mkdir()
    assert available_bytes(memory, cgroup) is None
    memory.write_text("MemTotal: 9000 kB\nMemAvailable:    2048 kB\n")
    assert available_bytes(memory, cgroup) == 2 << 20
    (cgroup / "memory.current").write_text("1000000\n")
    (cgroup / "memory.max").write_text("max\n")
    assert available_bytes(memory, cgroup) == 2 << 20
    (cgroup / "memory.max").write_text("1500000\n")
    assert available_bytes(memory, cgroup) == 500_000


def test_what_does_not_fit_is_refused_before_it_begins(tmp_path: Path) -> None:
    require_capacity(Needs(1.0, 1, 1), tmp_path)
    with pytest.raises(StorageError, match="free the disk"):
        require_capacity(Needs(1.0, 1, 1 << 60), tmp_path)
    with pytest.raises(CapacityError, match="of memory are available"):
        require_capacity(Needs(1.0, 1 << 60, 1), tmp_path)


def test_a_delta_writes_the_titles_of_which_something_new_is_said_and_no_others() -> None:
    files = {"items.parquet": FileEntry("0" * 64, 500 << 20), "profiles.parquet": FileEntry("1" * 64, 1000)}
    live = Manifest("r000001", "2026-01-01T00:00:00+00:00", None, files, description(), {})
    histories, described = (
        needs_of(Work.ELIGIBILITY, Sizes(1000, 0, 16, num), live, None).disk_bytes for num in (0, 1000)
    )
    assert histories < 1 << 20
    assert described > 500 << 20


def test_a_delta_needs_less_than_a_build_and_what_was_measured_counts_first() -> None:
    sizes = Sizes(1_000_000, 10_000, 128)
    delta, build = (needs_of(work, sizes, None, None) for work in (Work.DELTA, Work.REINDEX))
    assert delta.disk_bytes < 0.1 * build.disk_bytes
    assert delta.memory_bytes < build.memory_bytes
    assert delta.seconds is not None
    assert build.seconds is not None
    assert delta.seconds < 0.1 * build.seconds
    assert needs_of(Work.DELTA, sizes, None, 7.5).seconds == 7.5
    assert needs_of(Work.RETRAIN, sizes, None, None).seconds is None
