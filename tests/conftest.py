"""Shape checks on, before the packages are imported; no deadlines; and where the real data sets are."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Workers share the cores: a thread that waits leaves its own at once. Before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hydra.core.config_store import ConfigStore
from hypothesis import settings

from tests.checked import install
from tests.kernels import compile_share

# A test never depends on how fast a machine is. Each run draws other examples: many runs try many.
settings.register_profile("no_clock", deadline=None, max_examples=40)
settings.load_profile("no_clock")
install()
# Hydra copies all that was ever registered whenever it composes, and changes nothing of the copy.
setattr(ConfigStore, "__deepcopy__", lambda store, _: store)  # noqa: B010


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish() -> None:
    """Before a worker says that it is ready for tests: machine code is compiled, each worker a share of it.

    And what is loaded by now stays to the end: the garbage collector need not walk over it again and again.
    """
    compile_share()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, from $TOWERS_DATA; the test is skipped where it is not set."""
    folder = os.environ.get("TOWERS_DATA")
    if not folder:
        pytest.skip("TOWERS_DATA is not set: no real data sets to read")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def _no_clock_in_gates() -> Iterator[None]:
    """No release is refused for what one query took on a busy machine, unless a test gives it a budget.

    So it is not measured over and over either: hundreds of releases are published here.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("retrieval.release.served_gates._FREE_MS", 60_000.0)
        patched.setattr("retrieval.release.answered._NUM_TIMED", 1)
        patched.setattr("retrieval.release.answered._NUM_ROUNDS", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _unsynced() -> Iterator[None]:
    """No test cuts the power in this process, as some do in their own; thousands of syncs take minutes.

    What is no open file is refused as ever.
    """

    def sync(file: Any) -> None:
        os.fstat(file if isinstance(file, int) else file.fileno())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", sync)
        yield


@pytest.fixture(scope="session")
def watched_calls() -> None:
    """That a job's calls of the kernel can be watched; the test is skipped where they cannot."""
    from benchmarks.claims import BenchmarkError
    from benchmarks.syscalls import run

    try:
        run(int, lambda call: 0)
    except BenchmarkError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny sentence-transformers model (`tests.backbones`), changed by no test."""
    from tests.backbones import MEANINGS, save_backbone

    return save_backbone(tmp_path_factory.mktemp("backbone") / "tiny", MEANINGS)
