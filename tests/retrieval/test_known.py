"""A profile is asked for by its id or its pseudonym, and not at all once it is forgotten."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrieval.following import Following
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.retriever import Retriever
from tests.retrieval.conftest import Exported
from tests.retrieval.releases import published
from tests.worlds import block_world
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.privacy.forgotten import FORGOTTEN_FILE, add_forgotten
from towers.data.privacy.guard import Guard
from towers.data.privacy.pseudonyms import PseudonymKey, Pseudonyms
from towers.data.raw import raw_from_tables
from towers.errors import IntegrityError, ReleaseError, UnknownIdError
from towers.recommender import Degraded

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = PseudonymKey(bytes(32)), PseudonymKey(bytes([1] * 32))


@pytest.fixture
def root(exported: Exported, tmp_path: Path) -> Path:
    published(exported, tmp_path / "releases")
    return tmp_path / "releases"


def published_under(key: PseudonymKey, exported: Exported, root: Path) -> None:
    """The same world once more, its profiles under pseudonyms."""
    tables = root.parent / "tables"
    shutil.rmtree(tables, ignore_errors=True)
    world = raw_from_tables(block_world(3, 20, 8, 6, seed=0, cold_items_per_block=2))
    ingest(world, "a world", tables, RuleSettings(), guard=Guard(key=key))
    build_release(exported.model, tables, root, IndexSpec(), GateSettings(k=10))


def test_a_profile_is_unknown_from_the_next_question_on(root: Path) -> None:
    retriever = Retriever.open(root)
    following = Following(root)
    assert retriever.recommend("p3").degraded is None
    add_forgotten(root / FORGOTTEN_FILE, ["p3"], WHEN)
    for asked in (retriever, following.retriever, Retriever.open(root), Retriever.open(root / "r000001")):
        answer = asked.recommend("p3", k=5)
        assert answer.degraded is Degraded.UNKNOWN_PROFILE
        assert answer.item_id == asked.recommend("nobody at all", k=5).item_id
        with pytest.raises(UnknownIdError) as raised:
            asked.history("p3")
        assert "p3" not in str(raised.value)
        assert asked.recommend("p4").degraded is None


def test_one_that_is_opened_later_does_not_even_hold_it(root: Path) -> None:
    before = Retriever.open(root)
    row = before.profile_ids.index("p3")
    add_forgotten(root / FORGOTTEN_FILE, ["p3"], WHEN)
    after = Retriever.open(root)
    assert after.profile_ids == before.profile_ids[:row] + before.profile_ids[row + 1 :]
    for profile_id in after.profile_ids:
        assert after.history(profile_id) == before.history(profile_id)
        assert after.recommend(profile_id).item_id == before.recommend(profile_id).item_id


def test_a_damaged_list_answers_nobody_by_name(root: Path) -> None:
    retriever = Retriever.open(root)
    (root / FORGOTTEN_FILE).write_text("{")
    with pytest.raises(IntegrityError, match="FORGOTTEN"):
        retriever.recommend("p3")
    assert len(retriever.recommend(k=3)) == 3


def test_keys_are_rotated_while_profiles_go_by_the_ids_of_the_service(
    exported: Exported, tmp_path: Path
) -> None:
    root = tmp_path / "releases"
    published_under(OLD, exported, root)
    both = Pseudonyms([NEW, OLD])
    following = Following(root, pseudonyms=both)
    before = following.retriever
    history = before.history("p3")
    assert before.recommend("p3").degraded is None
    # Without a key a profile goes by its pseudonym alone.
    assert Retriever.open(root).recommend("p3").degraded is Degraded.UNKNOWN_PROFILE
    assert Retriever.open(root).history(OLD.pseudonym("p3")) == history

    published_under(NEW, exported, root)
    assert following.refresh()
    assert following.retriever.history("p3") == history
    assert OLD.pseudonym("p3") not in following.retriever.profile_ids
    assert following.retriever.recommend(OLD.pseudonym("p3")).degraded is Degraded.UNKNOWN_PROFILE
    with pytest.raises(ReleaseError, match=f"of the key {NEW.name}; expected one of {OLD.name}"):
        Retriever.open(root, pseudonyms=Pseudonyms([OLD]))
    # Nowhere does one release say whom another means.
    for name, key in (("r000001", NEW), ("r000002", OLD)):
        for path in (root / name).iterdir():
            assert key.pseudonym("p3").encode() not in path.read_bytes()


def test_a_profile_is_forgotten_by_its_id_and_by_its_pseudonym(exported: Exported, tmp_path: Path) -> None:
    root = tmp_path / "releases"
    published_under(OLD, exported, root)
    retriever = Retriever.open(root, pseudonyms=Pseudonyms([OLD]))
    add_forgotten(root / FORGOTTEN_FILE, ["p3", OLD.pseudonym("p4")], WHEN)
    degraded = [retriever.recommend(f"p{n}").degraded for n in (3, 4, 5)]
    assert degraded == [Degraded.UNKNOWN_PROFILE, Degraded.UNKNOWN_PROFILE, None]


def test_ids_that_are_no_pseudonyms_are_not_asked_under_a_key(root: Path) -> None:
    with pytest.raises(ReleaseError, match="no pseudonyms"):
        Retriever.open(root, pseudonyms=Pseudonyms([OLD]))
