"""Writes the lock files from pyproject.toml: every package of the closure, pinned and hashed.

    requirements-build.lock   what builds the project and the one dependency that ships as source
    requirements.lock         what it takes to run; torch by its default builds or its CPU builds
    requirements-cpu.lock     torch by its CPU builds alone, for a machine without a GPU
    requirements-cuda.lock    what the default Linux builds of torch need besides
    requirements-dev.lock     what checks and tests it

All but the third share no package, and they come from one resolution for all supported Pythons and platforms,
so `pip install --no-deps --require-hashes` installs one after another. `make lock` runs this; it needs uv.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
# The CPU builds come from PyTorch's own server, not from the registry that uv asks: torch-2.13.0+cpu for
# CPython 3.11 on Linux x86_64.
TORCH_CPU_SHA256 = ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",)
# Hydra's antlr4 runtime is published as source only, and its setup.py needs setuptools.
SOURCE_BUILD = ("setuptools",)
CUDA_PREFIXES = ("cuda-", "nvidia-", "triton")

Lock = dict[str, str]
"""Package name → its pins, markers and hashes as they stand in a lock; a name may have one pin per Python."""


def main() -> None:
    """Resolves once, sorts the packages into their files and writes them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build_needs = [*project["build-system"]["requires"], *SOURCE_BUILD]
    run_needs = [*project["project"]["dependencies"], f"torch=={TORCH}"]
    dev_needs = project["project"]["optional-dependencies"]["dev"]

    everything = resolved([*build_needs, *run_needs, *dev_needs])
    build = resolved(build_needs, everything)
    runtime = without(resolved(run_needs, everything), build)
    cuda = {name: pins for name, pins in runtime.items() if name.startswith(CUDA_PREFIXES)}
    runtime = without(runtime, cuda)
    runtime["torch"] = with_hashes(runtime["torch"], TORCH_CPU_SHA256)
    dev = without(everything, build, runtime, cuda)
    write("build", "To build the project, and what is published as source only.", build)
    write("", "To run; torch by its default builds or its CPU builds.", runtime)
    # Given both builds, pip takes the one whose hash its index names; here the CPU build is the only choice.
    write("cpu", "To run without a GPU.", {"torch": with_hashes(f"torch=={TORCH}+cpu", TORCH_CPU_SHA256)})
    write("cuda", "Besides, to run torch's default Linux builds; its CPU builds need none of it.", cuda)
    write("dev", "To check and to test.", dev)


def resolved(needs: Sequence[str], within: Lock | None = None) -> Lock:
    """The closure of `needs` for every supported Python and platform, from the pins of `within` if given."""
    with tempfile.TemporaryDirectory() as folder:
        requirements, constraints = Path(folder, "requirements.in"), Path(folder, "constraints.txt")
        requirements.write_text("\n".join(needs) + "\n")
        constraints.write_text("".join((within or {}).values()))
        answer = subprocess.run(
            [
                *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
                *("--generate-hashes", "--no-header", "--no-annotate", "--no-strip-extras"),
                *("--constraint", str(constraints), str(requirements)),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
    if answer.returncode:
        sys.exit(f"error: uv could not resolve {', '.join(needs)}\n{answer.stderr}")
    return parsed(answer.stdout)


def parsed(text: str) -> Lock:
    """The packages of a requirements file with hashes."""
    lock: Lock = {}
    for pin in re.split(r"^(?=\w)", text, flags=re.MULTILINE):
        name = re.match(r"[\w.-]+", pin)
        if name is not None:
            lock[name[0]] = lock.get(name[0], "") + pin
    return lock


def without(lock: Lock, *others: Lock) -> Lock:
    """The packages of `lock` that stand in none of the others."""
    return {name: pins for name, pins in lock.items() if not any(name in other for other in others)}


def with_hashes(pin: str, sha256: Sequence[str]) -> str:
    """A pin that also accepts the files of these hashes."""
    return pin.rstrip("\n") + "".join(f" \\\n    --hash=sha256:{each}" for each in sha256) + "\n"


def write(use: str, purpose: str, lock: Lock) -> None:
    """Writes the lock file of one use, in name order."""
    path = ROOT / f"requirements{'-' if use else ''}{use}.lock"
    header = f"# {purpose}\n# Written by `make lock`: change pyproject.toml, not this file.\n"
    path.write_text(header + "".join(lock[package] for package in sorted(lock)))
    print(f"wrote {path.name}: {len(lock)} packages")


if __name__ == "__main__":
    main()
