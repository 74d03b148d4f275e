"""Exit code 0 when the installed torch needs packages of requirements-cuda.lock here, else 1."""

import re
import sys
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).resolve().parent.parent / "requirements-cuda.lock"


def main() -> int:
    """Compares what torch's own metadata declares for this platform with the names in the lock."""
    locked = set(re.findall(r"^\w[\w.-]*", LOCK.read_text(), re.MULTILINE))
    needs = map(Requirement, requires("torch") or [])
    here = (need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""}))
    return 0 if any(canonicalize_name(need.name) in locked for need in here) else 1


if __name__ == "__main__":
    sys.exit(main())
