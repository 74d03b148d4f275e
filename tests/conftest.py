"""Shape checks on, before the packages are imported; no deadlines; and where the real data sets are."""

import os
from pathlib import Path

# Workers share the cores: a thread that waits leaves its own at once. Before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

from tests.checked import install

# A test never depends on how fast a machine is. Each run draws other examples: many runs try many.
settings.register_profile("no_clock", deadline=None, max_examples=40)
settings.load_profile("no_clock")
install()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, from $TOWERS_DATA; the test is skipped where it is not set."""
    folder = os.environ.get("TOWERS_DATA")
    if not folder:
        pytest.skip("TOWERS_DATA is not set: no real data sets to read")
    return Path(folder)


@pytest.fixture(autouse=True)
def no_clock_in_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """No release is refused for what one query took on a busy machine, unless a test gives it a budget."""
    monkeypatch.setattr("retrieval.release.served_gates._FREE_MS", 60_000.0)


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
