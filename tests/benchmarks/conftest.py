"""What the tests of benchmarks share."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests import forked


@pytest.fixture
def forked_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts that a benchmark starts need not load torch and Lightning anew."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        done = forked.run_script(forked.ROOT / command[1], *command[2:])
        sys.stderr.write(done.stdout + done.stderr)
        return done

    monkeypatch.setattr("benchmarks.stages.subprocess", SimpleNamespace(run=run))
