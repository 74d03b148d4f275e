"""What an operator reads in the terminal: scripts/releases.py over real releases."""

from pathlib import Path

import pytest

from conf.releases import ReleaseAction, ReleasesSettings
from retrieval.release.store import current, release_ids
from scripts.releases import releases
from tests.retrieval.conftest import Exported
from tests.retrieval.releases import published
from towers.errors import ConfigError, IntegrityError, ReleaseError


@pytest.fixture(scope="module")
def artifacts(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three releases; what a test changes, it changes back."""
    folder = tmp_path_factory.mktemp("artifacts")
    for _ in range(3):
        published(exported, folder / "releases")
    return folder


def shown(artifacts: Path, capsys: pytest.CaptureFixture[str], action: ReleaseAction, **more: object) -> str:
    releases(ReleasesSettings(str(artifacts), action, **more))  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_releases_are_listed_gone_back_to_and_pinned(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(artifacts, capsys, ReleaseAction.LIST).splitlines()
    assert len(lines) == 4
    assert lines[3].split()[:2] == ["r000003", "current"]
    assert {"towers", "flat", "60", "1.0000"} <= set(lines[1].split())
    shown(artifacts, capsys, ReleaseAction.PIN, release="r000001")
    lines = shown(artifacts, capsys, ReleaseAction.ROLL_BACK).splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["pinned", "current"]
    assert current(artifacts / "releases") == "r000002"
    shown(artifacts, capsys, ReleaseAction.UNPIN, release="r000001")
    shown(artifacts, capsys, ReleaseAction.ROLL_BACK, release="r000003")
    assert current(artifacts / "releases") == "r000003"


def test_a_dry_run_removes_nothing(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(artifacts, capsys, ReleaseAction.PRUNE, keep=1, dry_run=True)
    assert said.startswith("would remove: r000001, r000002\n")
    assert len(release_ids(artifacts / "releases")) == 3


def test_one_release_is_described_and_two_are_compared(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = shown(artifacts, capsys, ReleaseAction.DESCRIBE, release="r000002")
    for word in ("r000002", "r000001", "embedding_parity", "index.faiss", "144"):
        assert word in said
    said = shown(artifacts, capsys, ReleaseAction.COMPARE, against="r000001")
    assert said.startswith("r000001 → r000003\n100.0% of the 10 titles")


def test_damage_is_shown_and_ends_in_an_error(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = artifacts / "releases" / "r000001" / "items.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    try:
        shown(artifacts, capsys, ReleaseAction.LIST)  # of the same size: only hashes show it
        with pytest.raises(IntegrityError, match=r"1 of 3 releases are damaged:\n .*items\.parquet: SHA-256"):
            shown(artifacts, capsys, ReleaseAction.VERIFY)
        assert "damaged" in capsys.readouterr().out
    finally:
        path.write_bytes(content)


def test_releases_are_pushed_looked_at_there_and_pulled(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remote, there = str(tmp_path / "remote"), tmp_path / "there"
    said = shown(artifacts, capsys, ReleaseAction.PUSH, remote=remote).splitlines()
    assert said[0].startswith("r000003 pushed to ")
    assert said[-1].split()[:2] == ["r000003", "current"]
    said = shown(there, capsys, ReleaseAction.PULL, remote=remote).splitlines()
    assert said[0].startswith("r000003 pulled from ")
    assert said[-1].split()[:2] == ["r000003", "current"]
    assert current(there / "releases") == "r000003"
    assert "embedding_parity" in shown(there, capsys, ReleaseAction.DESCRIBE, remote=remote)
    shown(there, capsys, ReleaseAction.PIN, remote=remote, release="r000003")
    assert "pinned" in shown(there, capsys, ReleaseAction.VERIFY, remote=remote)
    told = shown(there, capsys, ReleaseAction.PRUNE, remote=remote, dry_run=True)
    assert told.startswith("would remove: none\n")
    shown(there, capsys, ReleaseAction.UNPIN, remote=remote, release="r000003")
    with pytest.raises(ReleaseError, match="no release 'r000001'; there are r000003"):
        shown(there, capsys, ReleaseAction.ROLL_BACK, remote=remote, release="r000001")


def test_what_is_missing_is_named(artifacts: Path) -> None:
    for action in (ReleaseAction.PIN, ReleaseAction.UNPIN):
        with pytest.raises(ConfigError, match="release: not given"):
            ReleasesSettings(str(artifacts), action)
    for action in (ReleaseAction.PUSH, ReleaseAction.PULL):
        with pytest.raises(ConfigError, match="remote: not given"):
            ReleasesSettings(str(artifacts), action)
    with pytest.raises(ConfigError, match="remote: given; action=compare"):
        ReleasesSettings(str(artifacts), ReleaseAction.COMPARE, against="r000001", remote="s3://a/b")
    with pytest.raises(ConfigError, match="against: not given"):
        ReleasesSettings(str(artifacts), ReleaseAction.COMPARE)
    with pytest.raises(ReleaseError, match="nothing was published yet"):
        releases(ReleasesSettings(str(artifacts / "nowhere")))
