"""A service with one release, made once: each test has a copy of its own."""

import shutil
from pathlib import Path

import pytest

from tests.retrieval.rebuild.worlds import Artifacts, artifacts, world


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """A service with one release, which no test changes."""
    made = artifacts(tmp_path_factory.mktemp("rebuild"), world())
    made.build()
    return made


@pytest.fixture
def service(begun: Artifacts, tmp_path: Path) -> Artifacts:
    """A copy of it."""
    shutil.copytree(begun.folder, tmp_path / "artifacts", symlinks=True)
    return Artifacts(tmp_path / "artifacts")
