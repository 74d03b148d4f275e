"""A peer lives in an environment of its own, made once for its pins."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from benchmarks.claims import BenchmarkError
from benchmarks.environment import peer_python


def wheel(folder: Path, version: str) -> Path:
    """The smallest installable package: one module that says its version."""
    path = folder / f"planted_peer-{version}-py3-none-any.whl"
    dist_info = f"planted_peer-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("planted_peer.py", f'VERSION = "{version}"\n')
        archive.writestr(
            f"{dist_info}/METADATA", f"Metadata-Version: 2.1\nName: planted-peer\nVersion: {version}\n"
        )
        archive.writestr(
            f"{dist_info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{dist_info}/RECORD", "")
    return path


def says(python: Path, program: str) -> str:
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_a_peer_is_installed_apart_and_again_only_when_its_pins_change(tmp_path: Path) -> None:
    first, second = wheel(tmp_path, "1.0"), wheel(tmp_path, "2.0")
    python = peer_python("peer", [f"planted-peer @ {first.as_uri()}"], tmp_path / "bench")
    assert says(python, "import planted_peer; print(planted_peer.VERSION)") == "1.0"
    assert Path(says(python, "import sys; print(sys.prefix)")) == tmp_path / "bench" / "peer"
    assert subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 1

    marker = tmp_path / "bench" / "peer" / "kept"
    marker.touch()
    assert peer_python("peer", [f"planted-peer @ {first.as_uri()}"], tmp_path / "bench") == python
    assert marker.exists()

    peer_python("peer", [f"planted-peer @ {second.as_uri()}"], tmp_path / "bench")
    assert says(python, "import planted_peer; print(planted_peer.VERSION)") == "2.0"
    assert not marker.exists()


def test_an_installation_that_failed_is_not_taken_for_made(tmp_path: Path) -> None:
    missing = f"planted-peer @ {(tmp_path / 'planted_peer-1.0-py3-none-any.whl').as_uri()}"
    for _ in range(2):
        with pytest.raises(BenchmarkError, match="peer: pip ended with exit code 1"):
            peer_python("peer", [missing], tmp_path / "bench")


@pytest.mark.parametrize("requirement", ["torch", "torch>=2", "torch==2.*", "--upgrade", "git+x"])
def test_a_peer_that_is_not_pinned_is_refused(requirement: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="is not pinned; expected name==version"):
        peer_python("peer", [requirement], tmp_path)
