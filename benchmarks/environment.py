"""Environments for peers: what we compare with is installed apart, and never meets our own packages."""

import hashlib
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import BenchmarkError

BENCH = Path(__file__).resolve().parent.parent / ".bench"
"""Where peers live, and what a benchmark of hours has finished; `make clean` removes it."""

_PINNED = re.compile(r"[\w.-]+(\[[\w,.-]+\])?==[\w.+!-]+( ;.*)?|[\w.-]+ @ \S+")


def peer_python(peer: str, requirements: Sequence[str], folder: Path = BENCH) -> Path:
    """The interpreter of a peer's own environment, made on the first call and kept until its pins change.

    requirements: pinned, `name==version` or `name @ file`: a figure says what it was measured against.
    """
    for requirement in requirements:
        if not _PINNED.fullmatch(requirement):
            raise BenchmarkError(f"{peer}: {requirement!r} is not pinned; expected name==version")
    home = folder / peer
    python, stamp = home / "bin" / "python", home / "requirements.sha256"
    wanted = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=False)
    # Our pip installs into the peer's environment: it needs none of its own.
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *requirements]
    if code := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise BenchmarkError(f"{peer}: pip ended with exit code {code} on {', '.join(requirements)}")
    # Written last: an installation that broke off is made anew.
    stamp.write_text(wanted)
    return python
