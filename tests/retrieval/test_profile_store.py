"""Releases with sealed profiles answer as those in clear do, and tell nobody who has no key anything."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.traces import bytes_left
from conf.compose import compose_settings
from conf.releases import ReleaseAction, ReleasesSettings
from conf.schema import (
    AuditSettings,
    EvaluateSettings,
    ExplainSettings,
    ForgetSettings,
    PipelineSettings,
    RecommendAllSettings,
    RecommendSettings,
)
from retrieval.following import Following
from retrieval.forget.forget import forget
from retrieval.forget.settings import ErasureSettings
from retrieval.index.spec import IndexSpec
from retrieval.profile_store import stored_table
from retrieval.rebuild.plan import Work
from retrieval.rebuild.run import rebuild
from retrieval.rebuild.summary import Outcome
from retrieval.release.build import build_release
from retrieval.release.build_rung import ListSettings, release_rung
from retrieval.release.files import PROFILES_FILE
from retrieval.release.gates import GateSettings
from retrieval.release.manifest import HASH_FILE, MANIFEST_FILE
from retrieval.release.store import current, open_release
from retrieval.retriever import Retriever
from scripts.audit import audit
from scripts.build_index import build_index
from scripts.evaluate import evaluate_release
from scripts.explain import explain
from scripts.forget import forget_profiles
from scripts.recommend import recommend
from scripts.recommend_all import write_recommendations
from scripts.releases import releases
from tests.retrieval.conftest import Exported
from tests.retrieval.rebuild.worlds import artifacts as service_of
from tests.retrieval.rebuild.worlds import world
from tests.retrieval.release.test_build_rung import make_world
from tests.worlds import block_world, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.privacy.sealed import SCHEME, StoreKey, StoreKeys
from towers.data.privacy.tables import erase_from_tables
from towers.data.schema import Tables
from towers.errors import IntegrityError, StoreKeyError
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.recommender import Degraded

OLD, NEW = StoreKey(bytes(range(32))), StoreKey(bytes(range(1, 33)))
KEYS, GATES = StoreKeys([OLD]), GateSettings(k=10, num_queries=20)
ANNA = "anna.smith.3@example.com"


def named() -> Tables:
    """The world of `exported`, its profiles under ids that no chance has anywhere."""
    tables = block_world(3, 20, 8, 6, seed=0, cold_items_per_block=2)

    def long(ids: pa.Table) -> pa.Table:
        names = [f"anna.smith.{one[1:]}@example.com" for one in ids["profile_id"].to_pylist()]
        place = ids.column_names.index("profile_id")
        return ids.set_column(place, ids.schema.field(place), pa.array(names))

    return replace(tables, events=long(tables.events), profiles=long(tables.profiles))


@pytest.fixture(scope="module")
def service(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and model, a release in clear and two that are sealed; a test that changes it has a copy."""
    folder = tmp_path_factory.mktemp("service")
    write_tables(named(), folder / "tables")
    shutil.copytree(exported.model, folder / "model")
    training = folder / "model" / "training.json"
    training.write_text(json.dumps({**json.loads(training.read_text()), "title": "blocks"}))
    for keys in (None, KEYS, KEYS):
        build_release(
            folder / "model", folder / "tables", folder / "releases", IndexSpec(), GATES, store_keys=keys
        )
    return folder


@pytest.fixture
def copied(service: Path, tmp_path: Path) -> Path:
    shutil.copytree(service, tmp_path / "service")
    return tmp_path / "service"


def forgotten(artifacts: Path, keys: StoreKeys | None) -> None:
    """Forgets Anna, and removes at once whatever holds her."""
    forget(
        artifacts,
        [ANNA],
        ErasureSettings(releases_days=0.0),
        lambda tables, gone: erase_from_tables(tables, gone).num_rows,
        store_keys=keys,
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )


def rehashed(folder: Path) -> None:
    """A release whose manifest is made to agree with its files, as who can write there can make it."""
    path = folder / MANIFEST_FILE
    document = json.loads(path.read_text())
    content = (folder / PROFILES_FILE).read_bytes()
    document["files"][PROFILES_FILE] |= {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    path.write_text(json.dumps(document))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / HASH_FILE).write_text(f"{digest}  {MANIFEST_FILE}\n")


def test_a_sealed_release_answers_as_the_one_in_clear(service: Path) -> None:
    root = service / "releases"
    clear = Retriever.open(root / "r000001", store_keys=KEYS)
    following = Following(root, store_keys=StoreKeys([NEW, OLD]))
    assert following.retriever.release_id == "r000003"
    assert following.retriever.profile_ids == clear.profile_ids
    for profile_id in clear.profile_ids[:5]:
        assert following.retriever.history(profile_id) == clear.history(profile_id)
        assert list(following.retriever.recommend(profile_id)) == list(clear.recommend(profile_id))
    files = open_release(root).manifest.files
    seal = files[PROFILES_FILE].sealed
    assert seal is not None
    assert (seal.scheme, seal.key) == (SCHEME, OLD.name)
    assert [name for name, entry in files.items() if entry.sealed] == [PROFILES_FILE]


def test_no_id_no_history_and_no_key_is_in_any_byte(service: Path, tmp_path: Path) -> None:
    root, tables = service / "releases", named()
    for release_id in ("r000001", "r000002"):
        (tmp_path / release_id).mkdir()
        shutil.copyfile(root / release_id / PROFILES_FILE, tmp_path / release_id / PROFILES_FILE)
    secrets = tables.profiles["profile_id"].to_pylist()
    moments = [int(each.timestamp() * 1000) for each in tables.events["start"].to_pylist()]
    assert set(bytes_left(tmp_path, secrets, moments)) == {"r000001/profiles.parquet"}
    # Nor does any other file of the release have an id; titles and their vectors lie in clear.
    assert bytes_left(root / "r000002", [*secrets, OLD.secret.hex()]) == {}
    with pytest.raises(pa.ArrowInvalid):
        pq.read_schema(root / "r000002" / PROFILES_FILE)


def test_what_was_changed_is_refused_though_the_manifest_agrees(copied: Path) -> None:
    folder = copied / "releases" / "r000002"
    whole = (folder / PROFILES_FILE).read_bytes()
    middle = len(whole) // 2
    for changed in (whole[:-1], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        (folder / PROFILES_FILE).write_bytes(changed)
        with pytest.raises(IntegrityError, match=r"the manifest expects"):
            Retriever.open(folder, store_keys=KEYS)
        rehashed(folder)
        with pytest.raises(IntegrityError, match=r"profiles\.parquet: part 1 of 1 is not as the store key"):
            Retriever.open(folder, store_keys=KEYS)
    shutil.copyfile(copied / "releases" / "r000001" / PROFILES_FILE, folder / PROFILES_FILE)
    rehashed(folder)
    with pytest.raises(
        IntegrityError, match=f"is sealed by none; the manifest expects it sealed under .*{OLD.name}"
    ):
        Retriever.open(folder, store_keys=KEYS)


def test_the_files_of_two_releases_cannot_be_swapped(copied: Path) -> None:
    one, other = (copied / "releases" / release_id for release_id in ("r000002", "r000003"))
    shutil.copyfile(one / PROFILES_FILE, other / PROFILES_FILE)
    rehashed(other)
    with pytest.raises(IntegrityError, match=r"expected a file that .* was sealed for r000003 profiles"):
        Retriever.open(other, store_keys=KEYS)


def test_a_release_that_was_copied_elsewhere_opens_there(service: Path, tmp_path: Path) -> None:
    shutil.copytree(service / "releases" / "r000002", tmp_path / "elsewhere")
    assert Retriever.open(tmp_path / "elsewhere", store_keys=KEYS).history(ANNA)


def test_without_the_key_nothing_opens_compares_or_takes_its_place(service: Path) -> None:
    root, wrong = service / "releases", StoreKeys([NEW])
    with pytest.raises(StoreKeyError, match=r"no key was given; expected store_key=…"):
        Retriever.open(root)
    with pytest.raises(StoreKeyError, match=f"under the store key {OLD.name}; expected one of {NEW.name}"):
        Following(root, store_keys=wrong)
    for keys in (None, wrong):
        with pytest.raises(StoreKeyError):
            build_release(service / "model", service / "tables", root, IndexSpec(), GATES, store_keys=keys)
    assert current(root) == "r000003"


def test_keys_are_rotated_while_it_is_served(copied: Path) -> None:
    root, both = copied / "releases", StoreKeys([NEW, OLD])
    following = Following(root, store_keys=both)
    build_release(copied / "model", copied / "tables", root, IndexSpec(), GATES, store_keys=both)
    assert following.refresh()
    assert following.retriever.history(ANNA)
    seal = open_release(root).manifest.files[PROFILES_FILE].sealed
    assert seal is not None
    assert seal.key == NEW.name
    assert Retriever.open(root, store_keys=StoreKeys([NEW])).history(ANNA)
    with pytest.raises(StoreKeyError):
        Retriever.open(root / "r000003", store_keys=StoreKeys([NEW]))
    # What no key opens any more may hold whoever is forgotten, and is removed.
    forgotten(copied, StoreKeys([NEW]))
    assert {path.name for path in root.glob("r*")} == {"r000005"}


def test_lists_made_beforehand_are_sealed_too(tmp_path: Path) -> None:
    made = make_world(dataset_from_tables(named()))
    rung = fit_popular(made.train, len(made.dataset.catalogue), PopularSettings())
    release_rung(rung, made.learned, tmp_path, IndexSpec(), ListSettings(40), GATES, KEYS)
    assert bytes_left(tmp_path, made.dataset.profiles.ids) == {}
    assert Retriever.open(tmp_path, store_keys=KEYS).recommend(ANNA).degraded is None


def test_rebuilds_seal_what_they_publish_and_say_what_waits_for_it(tmp_path: Path) -> None:
    told = world()
    service = service_of(tmp_path, told)
    service.build()
    waits = rebuild(service.job(told, store_keys=KEYS))
    assert waits.outcome is Outcome.NOTHING
    assert waits.plan is not None
    assert "profiles of r000001 lie in clear; what is published next seals them" in waits.plan.notes
    newer = told.with_watch("p3", "t039" if "t039" not in told.watched["p3"] else "t038")
    renamed = newer.with_titles(t011=replace(newer.titles["t011"], country="FR"))
    for step, work in ((newer, Work.HISTORIES), (renamed, Work.ELIGIBILITY)):
        done = rebuild(service.job(step, store_keys=KEYS))
        assert done.plan is not None
        assert (done.outcome, done.plan.work, done.plan.notes) == (Outcome.PUBLISHED, work, done.plan.notes)
        opened = Retriever.open(service.root, store_keys=KEYS)
        assert opened.history("p3") == tuple(step.watched["p3"])
        assert open_release(service.root).manifest.files[PROFILES_FILE].sealed is not None
    refused = rebuild(service.job(renamed))
    assert refused.outcome is Outcome.FAILED
    assert refused.error is not None
    assert f"is sealed under the store key {OLD.name}" in refused.error


def test_a_forgotten_profile_leaves_no_byte_behind_sealed_or_opened(copied: Path) -> None:
    assert "releases/r000003/profiles.parquet" in bytes_left(copied, [ANNA], store_keys=KEYS)

    with pytest.raises(StoreKeyError, match=f"under the store key {OLD.name}"):
        forgotten(copied, None)
    forgotten(copied, StoreKeys([NEW, OLD]))
    assert bytes_left(copied, [ANNA], store_keys=StoreKeys([NEW, OLD])) == {}
    after = Retriever.open(copied / "releases", store_keys=StoreKeys([NEW]))
    assert after.release_id == "r000004"
    assert after.recommend(ANNA).degraded is Degraded.UNKNOWN_PROFILE
    left = stored_table(copied / "releases" / "r000004" / PROFILES_FILE, StoreKeys([NEW]))
    assert left.num_rows == 23


def test_every_script_takes_the_key_and_none_writes_it_down(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYS", OLD.secret.hex())
    where, root = f"artifacts={copied}", copied / "releases"
    told = (where, "store_key=env:KEYS")
    build_index(compose_settings(PipelineSettings, "build_index", [*told, "gates.num_queries=20"]))
    assert current(root) == "r000004"
    recommend(compose_settings(RecommendSettings, "recommend", [*told, f"profile={ANNA}", "k=3"]))
    write_recommendations(compose_settings(RecommendAllSettings, "recommend_all", [*told, "k=3"]))
    evaluate_release(compose_settings(EvaluateSettings, "evaluate", told))
    explain(compose_settings(ExplainSettings, "explain", [*told, f"profile={ANNA}"]))
    audit(compose_settings(AuditSettings, "audit", [*told, "part=output", "output.min_questions=5"]))
    for action in ("compare", "describe"):
        settings = compose_settings(
            ReleasesSettings, "releases", [*told, f"action={action}", "against=r000001"]
        )
        releases(settings)
    assert OLD.name in capsys.readouterr().out  # described: which key sealed what
    with pytest.raises(StoreKeyError):
        evaluate_release(compose_settings(EvaluateSettings, "evaluate", [where]))
    with pytest.raises(StoreKeyError):
        releases(ReleasesSettings(str(copied), action=ReleaseAction.COMPARE, against="r000001"))
    given = [*told, f"profile={ANNA}", "erasure.releases_days=0"]
    forget_profiles(compose_settings(ForgetSettings, "forget", given))
    assert current(root) == "r000005"
    assert bytes_left(copied, [ANNA, OLD.secret.hex(), "env:KEYS"], store_keys=KEYS) == {}
