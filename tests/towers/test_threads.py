"""What waiting threads do is settled before torch is loaded, and first of all by the environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.mark.parametrize(
    ("package", "given", "expected"),
    [
        *[
            (package, {}, ("PASSIVE", "4000"))
            for package in ("towers", "retrieval", "conf.schema", "benchmarks.training_steps")
        ],
        ("towers", {"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", None)),
        ("towers", {"OMP_WAIT_POLICY": "PASSIVE"}, ("PASSIVE", None)),
        ("towers", {"GOMP_SPINCOUNT": "7"}, ("PASSIVE", "7")),
    ],
)
def test_a_waiting_thread_spins_a_moment_unless_the_environment_says_otherwise(
    package: str, given: dict[str, str], expected: tuple[str, str | None]
) -> None:
    # At the moment that torch begins to load; what would come after it says nothing more.
    command = f"""
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("torch."):
            print([os.environ.get(name) for name in {NAMES}], flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
import {package}, torch
"""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | given
    printed = subprocess.run(
        [sys.executable, "-c", command],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == str(list(expected))
