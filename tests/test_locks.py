"""The lock files pin and hash everything that pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted(ROOT.glob("requirements*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins_of(lock: Path) -> list[tuple[Requirement, set[str]]]:
    text = lock.read_text().replace("\\\n", " ")
    lines = [line.split("--hash=") for line in text.splitlines() if line and not line.startswith("#")]
    return [(Requirement(pin.strip()), {hash_.strip() for hash_ in hashes}) for pin, *hashes in lines]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_is_pinned_and_hashed(lock: Path) -> None:
    pins = pins_of(lock)
    assert pins
    for requirement, hashes in pins:
        assert re.fullmatch(r"==[\w.+]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", hash_) for hash_ in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_no_place_to_fetch_from(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert set(re.findall(r"(?<!\S)--[\w-]+", text)) == {"--hash"}


def test_every_requirement_of_the_project_is_locked_in_a_version_that_it_allows() -> None:
    needs = [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
    ]
    locked: dict[str, list[str]] = {}
    for lock in LOCKS:
        for pin, _ in pins_of(lock):
            locked.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    for need in map(Requirement, needs):
        versions = locked.get(canonicalize_name(need.name), [])
        assert versions, f"{need} is not locked: run make lock"
        assert all(need.specifier.contains(version) for version in versions), f"{need}: {versions}"


_MODULES = {"scikit-learn": "sklearn", "faiss-gpu": "faiss"}


def test_every_extra_holds_what_the_code_asks_for_and_nothing_else() -> None:
    code = "\n".join(
        path.read_text() for top in ("towers", "retrieval") for path in (ROOT / top).rglob("*.py")
    )
    asked = set(re.findall(r"""(?:^ *(?:import|from) |["'])(\w+)""", code, re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    for extra, needs in extras.items():
        for need in [] if extra == "dev" else map(Requirement, needs):
            module = _MODULES.get(need.name, need.name.replace("-", "_"))
            assert module in asked, f"{extra}: nothing asks for {need.name}"


def test_torch_is_locked_by_its_default_and_its_cpu_builds() -> None:
    runtime = {pin.name: (pin, hashes) for pin, hashes in pins_of(ROOT / "requirements.lock")}
    ((cpu, cpu_hashes),) = pins_of(ROOT / "requirements-cpu.lock")
    pin, hashes = runtime["torch"]
    assert (str(pin.specifier), str(cpu.specifier)) == ("==2.13.0", "==2.13.0+cpu")
    assert cpu_hashes < hashes


def test_what_only_a_gpu_needs_is_apart() -> None:
    for lock in LOCKS:
        needs_gpu = [
            pin.name for pin, _ in pins_of(lock) if pin.name.startswith(("nvidia-", "cuda-", "triton"))
        ]
        assert bool(needs_gpu) == (lock.name == "requirements-cuda.lock")
