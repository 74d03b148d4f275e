"""An artifacts folder without a forgotten profile: what goes, what stays, and what is due."""

import base64
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.batch import recommend_all
from retrieval.forget.forget import forget
from retrieval.forget.receipt import Receipt, check_receipt
from retrieval.forget.settings import ErasureSettings
from retrieval.index.spec import IndexSpec
from retrieval.release import store
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.operations import pin
from retrieval.release.verify import Verify
from retrieval.retriever import Retriever
from tests.retrieval.conftest import Exported
from towers import folders
from towers.data.privacy.forgotten import read_forgotten
from towers.data.privacy.pseudonyms import PseudonymKey, Pseudonyms
from towers.data.privacy.tables import erase_from_tables
from towers.errors import ConfigError, IntegrityError, MissingDataError
from towers.processes import forked
from towers.recommender import Degraded

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE = ErasureSettings(releases_days=0.0)
PROCESSES = forked(__name__)


@pytest.fixture(scope="module")
def served(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables, an export, two releases, recommendations and a checkpoint."""
    folder = tmp_path_factory.mktemp("served") / "artifacts"
    shutil.copytree(exported.tables, folder / "tables")
    shutil.copytree(exported.model, folder / "model")
    for _ in range(2):
        build_release(
            folder / "model", folder / "tables", folder / "releases", IndexSpec(), GateSettings(k=10)
        )
    recommend_all(Retriever.open(folder / "releases"), folder / "recommendations.parquet", 5)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    return folder


@pytest.fixture
def artifacts(served: Path, tmp_path: Path) -> Path:
    """The same, for a test to forget in."""
    return _copy(served, tmp_path / "artifacts")


def forgotten(
    artifacts: Path, *ids: str, settings: ErasureSettings = AT_ONCE, days: float = 0.0
) -> tuple[Receipt, Path]:
    return forget(
        artifacts,
        ids,
        settings,
        lambda tables, gone: erase_from_tables(tables, gone).num_rows,
        now=NOW + timedelta(days=days),
    )


def profiles_of(path: Path) -> set[str]:
    return set(pq.read_table(path, columns=["profile_id"])["profile_id"].to_pylist())


def everywhere(artifacts: Path) -> set[str]:
    """All profiles that any Parquet file of the folder names."""
    named: set[str] = set()
    for path in artifacts.rglob("*.parquet"):
        if "profile_id" in pq.read_schema(path).names:
            named |= profiles_of(path)
    return named


def test_a_profile_is_gone_from_everything_and_the_others_are_as_they_were(artifacts: Path) -> None:
    before = Retriever.open(artifacts / "releases")
    receipt, _ = forgotten(artifacts, "p3")
    assert everywhere(artifacts) == set(before.profile_ids) - {"p3"}
    after = Retriever.open(artifacts / "releases", Verify.FULL)
    assert after.release_id == "r000003"
    assert store.release_ids(artifacts / "releases") == ["r000003"]
    for profile_id in after.profile_ids:
        assert after.recommend(profile_id).item_id == before.recommend(profile_id).item_id
    assert after.recommend("p3").degraded is Degraded.UNKNOWN_PROFILE
    manifest = store.open_release(artifacts / "releases").manifest
    assert (manifest.parent, manifest.description.num_profiles) == ("r000002", 23)
    assert manifest.description.num_events == 23 * 6
    did = {place.where: (place.action, dict(place.num_rows)) for place in receipt.places}
    assert did == {
        "checkpoints/last.ckpt": ("removed", {}),
        "tables": ("rewritten", {"items": 0, "events": 6, "profiles": 1, "queries": 0}),
        "recommendations.parquet": ("rewritten", {"rows": 1}),
        "releases/r000003": ("published in place of r000002", {"profiles": 1, "events": 6}),
        "releases/r000001": ("removed", {}),
        "releases/r000002": ("removed", {}),
        "model": ("to be trained anew", {}),
    }


def test_it_can_be_asked_again_and_changes_nothing_then(artifacts: Path) -> None:
    forgotten(artifacts, "p3")
    state = {p: p.stat().st_mtime_ns for p in artifacts.rglob("*.parquet")}
    listed = read_forgotten(artifacts / "releases" / "FORGOTTEN")
    receipt, _ = forgotten(artifacts, "p3", days=1.0)
    assert {p: p.stat().st_mtime_ns for p in artifacts.rglob("*.parquet")} == state
    assert read_forgotten(artifacts / "releases" / "FORGOTTEN") == listed
    assert [place.where for place in receipt.places] == ["model"]


def test_older_releases_stay_for_a_way_back_until_they_are_due(artifacts: Path) -> None:
    pin(artifacts / "releases", "r000001")
    settings = ErasureSettings(releases_days=7.0)
    receipt, _ = forgotten(artifacts, "p3", settings=settings)
    due = {place.where: place.due for place in receipt.open}
    week = (NOW + timedelta(days=7)).isoformat()
    assert due["releases/r000001"] == due["releases/r000002"] == week
    assert Retriever.open(artifacts / "releases" / "r000001").recommend("p3").degraded is not None
    forgotten(artifacts, settings=settings, days=6.9)
    assert len(store.release_ids(artifacts / "releases")) == 3
    # A pin holds no release against a person.
    receipt, _ = forgotten(artifacts, settings=settings, days=7.0)
    assert store.release_ids(artifacts / "releases") == ["r000003"]
    assert [place.where for place in receipt.open] == ["model"]


def test_a_model_is_due_until_one_that_learned_from_other_tables_takes_its_place(artifacts: Path) -> None:
    receipt, _ = forgotten(artifacts, "p3")
    (model,) = receipt.open
    assert (model.where, model.due) == ("model", (NOW + timedelta(days=30)).isoformat())
    training = artifacts / "model" / "training.json"
    context = json.loads(training.read_text())
    (state,) = json.loads((artifacts / "receipts" / "erased_tables.json").read_text())
    # One that was under way meanwhile is exported later, and still learned from the profile.
    training.write_text(json.dumps({**context, "learned_from": state}))
    assert [place.where for place in forgotten(artifacts)[0].open] == ["model"]
    training.write_text(json.dumps({**context, "learned_from": "0" * 64}))
    assert not forgotten(artifacts)[0].open


def test_backups_are_told_until_they_expire(artifacts: Path) -> None:
    settings = ErasureSettings(
        releases_days=0.0, retrain_days=0.0, backups={"nightly": 14.0, "yearly": 400.0}
    )
    receipt, _ = forgotten(artifacts, "p3", settings=settings)
    due = {place.where: place.due for place in receipt.open}
    assert due["nightly"] == (NOW + timedelta(days=14)).isoformat()
    receipt, _ = forgotten(artifacts, settings=settings, days=15.0)
    assert [place.where for place in receipt.open if "backup" in place.action] == ["yearly"]


def test_a_receipt_names_nobody_and_shows_whoever_changed_it(artifacts: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True
    )
    receipt, path = forgotten(artifacts, "p3", settings=ErasureSettings(signing_key=str(key)))
    content = json.loads(path.read_text())
    public = base64.b64decode(content["public_key"])
    assert check_receipt(path, public) == receipt
    assert '"p3"' not in path.read_text()
    with pytest.raises(IntegrityError):
        check_receipt(path, bytes(32))
    for change in ({"num_asked": 0}, {"places": content["receipt"]["places"][1:]}):
        path.write_text(json.dumps({**content, "receipt": {**content["receipt"], **change}}))
        with pytest.raises(IntegrityError, match="not the receipt that was signed"):
            check_receipt(path, public)


def test_a_key_that_is_not_there_is_said_before_anything_is_begun(artifacts: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="openssl genpkey"):
        forgotten(artifacts, "p3", settings=ErasureSettings(signing_key=str(tmp_path / "none")))
    assert not (artifacts / "releases" / "FORGOTTEN").exists()


def test_a_folder_that_is_not_there_gets_no_receipt(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"mistyped: no such folder; expected that of a service"):
        forgotten(tmp_path / "mistyped", "p3")
    assert not list(tmp_path.iterdir())


def test_whom_only_a_key_finds_gets_no_receipt_without_it(tmp_path: Path) -> None:
    made = Pseudonyms((PseudonymKey(bytes(32)),)).newest
    artifacts = tmp_path / "site.new"  # a name of its own, and nothing that is being written
    folder = artifacts / "tables"
    folder.mkdir(parents=True)
    for name in ("profiles", "events"):
        pq.write_table(pa.table({"profile_id": [made.pseudonym("p3")]}), folder / f"{name}.parquet")
    with pytest.raises(ConfigError, match=rf"pseudonyms of the key {made.name}, .* expected key="):
        forgotten(artifacts, "p3")
    assert not (artifacts / "receipts").exists()


def test_a_release_whose_profiles_only_a_key_finds_says_so_where_no_table_is_left(
    artifacts: Path, tmp_path: Path
) -> None:
    made = Pseudonyms((PseudonymKey(bytes(32)),)).newest
    releases = tmp_path / "releases"
    shutil.copytree(artifacts / "releases", releases)
    for path in releases.glob("r*/profiles.parquet"):
        table = pq.read_table(path)
        ids = pa.array([made.pseudonym(id_) for id_ in table["profile_id"].to_pylist()])
        place = table.column_names.index("profile_id")
        pq.write_table(table.set_column(place, table.schema.field(place), ids), path)
    with pytest.raises(ConfigError, match=rf"releases/r00000\d: its profiles are .* {made.name}, .* key="):
        forgotten(tmp_path, "p3")


def test_tables_that_are_being_written_or_were_left_half_stop_no_erasure(artifacts: Path) -> None:
    left = artifacts / ".tables.new"
    left.mkdir()
    pq.write_table(pa.table({"profile_id": ["p3"]}), left / "events.parquet")
    forgotten(artifacts, "p3")
    assert "p3" not in everywhere(artifacts)


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"backups.nightly: -1"):
        ErasureSettings(backups={"nightly": -1.0})


def _killed(artifacts: Path, countdown: int) -> None:
    """Ends the process, as a kill would, at the n-th sync of a file."""
    left = countdown

    def sync(path: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(9)

    folders.sync = store.sync = sync  # type: ignore[attr-defined]
    forgotten(artifacts, "p3")


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_by_itself_and_nobody_is_served_meanwhile(
    artifacts: Path, tmp_path: Path
) -> None:
    wanted = {place.where for place in forgotten(_copy(artifacts, tmp_path / "whole"), "p3")[0].places}
    seen: set[int | None] = set()
    for countdown in (5, 12):
        folder = _copy(artifacts, tmp_path / f"killed {countdown}")
        process = PROCESSES.Process(target=_killed, args=(folder, countdown))
        process.start()
        process.join()
        seen.add(process.exitcode)
        begun = (folder / "releases" / "FORGOTTEN").exists()
        if begun:
            assert Retriever.open(folder / "releases").recommend("p3").degraded is Degraded.UNKNOWN_PROFILE
        receipt, _ = forgotten(folder, *([] if begun else ["p3"]))
        assert "p3" not in everywhere(folder)
        assert {place.where for place in receipt.places} <= wanted | {"releases/r000004"}
        assert [place.where for place in receipt.open] == ["model"]
        leftovers = [p for p in folder.rglob(".*") if p.is_dir()]
        assert not leftovers
    assert 9 in seen


def _copy(artifacts: Path, to: Path) -> Path:
    shutil.copytree(artifacts, to, symlinks=True)
    return to
