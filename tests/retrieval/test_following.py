"""A newer release takes over between two requests; one that cannot be served does not."""

import gc
import math
import shutil
import sys
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from retrieval.control.store import ControlsStore
from retrieval.following import Following
from retrieval.index.spec import IndexSpec
from retrieval.release import read
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.operations import prune, roll_back
from retrieval.release.store import ReleaseInfo, release_of
from retrieval.release.verify import Verify
from retrieval.retriever import Retriever
from tests.retrieval.conftest import Exported
from tests.retrieval.releases import published
from towers.errors import ConfigError, IntegrityError, ReleaseError
from towers.exported import FINGERPRINT, VECTORS_FILE
from towers.nets.two_tower import fingerprint


@pytest.fixture
def root(exported: Exported, tmp_path: Path) -> Path:
    """One release of untrained towers."""
    published(exported, tmp_path)
    return tmp_path


def damaged(info: ReleaseInfo) -> Path:
    path = info.folder / "items.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    return path


def test_there_must_be_a_release_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="run scripts/build_index"):
        Following(tmp_path)


@pytest.mark.parametrize("every_seconds", [0.0, -1.0, math.nan, math.inf])
def test_looks_have_time_between_them(root: Path, every_seconds: float) -> None:
    with pytest.raises(ConfigError, match=f"every_seconds = {every_seconds}: expected seconds"):
        Following(root, every_seconds=every_seconds)


def test_the_next_release_takes_over_and_the_older_one_is_freed(root: Path, exported: Exported) -> None:
    following = Following(root)
    assert not following.refresh()
    held = following.retriever
    older = weakref.ref(held)
    published(exported, root)
    assert following.retriever is held  # nothing changes by itself
    assert following.refresh()
    assert following.retriever.release_id == "r000002"
    # Who took it before goes on with it, even when it is cleared away.
    assert prune(root, 1) == ("r000001",)
    assert held.recommend(held.profile_ids[0]).release_id == "r000001"
    held.search("title", profile_id=held.profile_ids[0])
    # At once with the last that holds it, not when Python next looks for what holds itself.
    gc.disable()
    try:
        del held
        assert older() is None
    finally:
        gc.enable()


def test_titles_that_are_the_same_are_held_once_and_answer_by_their_own_popularity(
    root: Path, exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> None:
    following = Following(root)
    first = following.retriever
    table, eligibility = first.items.table, first.eligibility
    assert first.suggest("title", k=60) == tuple(by_popularity(first))
    # The next one has the same titles and towers, and other watches.
    other = tmp_path_factory.mktemp("export") / "model"
    shutil.copytree(exported.model, other)
    arrays = load_file(other / VECTORS_FILE)
    arrays["num_events"] = np.random.default_rng(0).permutation(len(arrays["num_events"]))
    save_file(arrays, other / VECTORS_FILE, metadata={FINGERPRINT: fingerprint(other)})
    build_release(other, exported.tables, root, IndexSpec(), GateSettings(k=10))
    assert following.refresh()
    shared, alone = following.retriever, Retriever.open(root)
    assert shared.items.table is table
    assert shared.eligibility is eligibility
    assert by_popularity(shared) != by_popularity(first)
    for retriever in (shared, alone):
        assert retriever.suggest("title", k=60) == tuple(by_popularity(alone))
    asked = [title.as_py() for title in table["title"][:20]] + ["title", "titel 3", "nothing"]
    for text in asked:
        one, two = shared.search(text, k=10), alone.search(text, k=10)
        assert one.item_id == two.item_id
        np.testing.assert_array_equal(one.score, two.score)


def test_other_titles_are_read_anew(root: Path, exported: Exported, tmp_path: Path) -> None:
    following = Following(root)
    older = following.retriever
    tables = tmp_path / "tables"
    shutil.copytree(exported.tables, tables)
    items = pq.read_table(tables / "items.parquet")
    renamed = [f"{title} again" for title in items["title"].to_pylist()]
    place = items.column_names.index("title")
    pq.write_table(
        items.set_column(place, items.schema.field(place), pa.array(renamed)), tables / "items.parquet"
    )
    build_release(exported.model, tables, root, IndexSpec(), GateSettings(k=10))
    assert following.refresh()
    assert following.retriever.items.table is not older.items.table
    assert following.retriever.eligibility is not older.eligibility
    assert following.retriever.search(renamed[3], k=1).item_id == (items["item_id"][3].as_py(),)


def by_popularity(retriever: Retriever) -> list[str]:
    """The ids of its titles, by its own counts."""
    order = np.argsort(-retriever.num_events, kind="stable")
    return [retriever.items.ids[row] for row in order.tolist()]


def test_a_swap_says_what_it_took(root: Path, exported: Exported) -> None:
    following = Following(root)
    before = following.last_swap
    assert before is None
    published(exported, root)
    assert following.refresh()
    swap = following.last_swap
    assert swap is not None
    assert (swap.release_id, swap.instead_of) == ("r000002", "r000001")
    assert swap.seconds > 0.0
    if sys.platform == "linux":
        assert swap.resident_bytes is not None
        assert min(swap.resident_bytes) > 10 << 20  # Python and torch alone are more
    assert not following.refresh()
    assert following.last_swap is swap


def test_a_third_release_is_not_opened_while_a_request_holds_the_last_but_one(
    root: Path, exported: Exported
) -> None:
    told: list[Exception] = []
    following = Following(root, alarm=lambda _, error: told.append(error), patience_seconds=0.0)
    slow = following.retriever  # a request that does not end
    published(exported, root)
    assert following.refresh()
    published(exported, root)
    for _ in range(2):
        assert not following.refresh()
    assert following.retriever.release_id == "r000002"
    assert [str(error) for error in told if "still holds the release before r000002" in str(error)]
    assert len(told) == 1
    assert slow.release_id == "r000001"
    del slow
    told.clear()
    assert following.refresh()
    assert following.retriever.release_id == "r000003"


def test_who_is_waited_for_lets_the_next_release_in(root: Path, exported: Exported) -> None:
    following = Following(root, patience_seconds=60.0)
    held = [following.retriever]
    published(exported, root)
    assert following.refresh()
    published(exported, root)
    swapped: list[bool] = []
    looking = threading.Thread(target=lambda: swapped.append(following.refresh()))
    looking.start()
    assert following.retriever.release_id == "r000002"
    held.clear()
    looking.join()
    assert swapped == [True]


def test_opening_a_release_gives_way_to_those_that_answer_and_leaves_all_as_it_was(
    root: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    before = sys.getswitchinterval()
    open_whole = Retriever.open

    def watched(*given: Any) -> Retriever:
        seen.append(sys.getswitchinterval())
        return open_whole(*given)

    following = Following(root)
    published(exported, root)
    monkeypatch.setattr(Retriever, "open", watched)
    assert following.refresh()
    assert seen[0] < before
    assert sys.getswitchinterval() == before


def test_going_back_is_followed_too(root: Path, exported: Exported) -> None:
    published(exported, root)
    following = Following(root)
    roll_back(root)
    assert following.refresh()
    assert following.retriever.release_id == "r000001"


def test_a_release_that_cannot_be_opened_is_told_once_and_the_older_one_answers_on(
    root: Path, exported: Exported
) -> None:
    told: list[tuple[str, Exception]] = []
    following = Following(root, alarm=lambda release_id, error: told.append((release_id, error)))
    held = following.retriever
    path = damaged(published(exported, root))
    for _ in range(3):
        assert not following.refresh()
        assert following.retriever is held
    ((release_id, error),) = told
    assert release_id == "r000002"
    assert isinstance(error, IntegrityError)
    assert str(path) in str(error)
    damaged(published(exported, root))
    following.refresh()
    assert [release_id for release_id, _ in told] == ["r000002", "r000003"]
    published(exported, root)
    assert following.refresh()
    assert following.retriever.release_id == "r000004"


def test_a_pointer_to_nothing_and_an_alarm_that_fails_end_nothing(root: Path) -> None:
    def failing(release_id: str, error: Exception) -> None:
        raise RuntimeError("no pager")

    following = Following(root, alarm=failing)
    (root / "CURRENT").write_text("nonsense")
    assert not following.refresh()
    (root / "CURRENT").unlink()
    assert not following.refresh()
    assert following.retriever.release_id == "r000001"


def test_whatever_is_wrong_with_a_release_the_older_one_answers_on(
    root: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Exception] = []
    following = Following(root, alarm=lambda _, error: told.append(error))
    published(exported, root)
    monkeypatch.delattr(Retriever, "suggest")  # a fault of nobody's making, while it is warmed
    assert not following.refresh()
    assert following.retriever.release_id == "r000001"
    assert [type(error) for error in told] == [AttributeError]


def test_every_answer_under_swaps_is_wholly_of_one_release(root: Path, exported: Exported) -> None:
    first = Retriever.open(root)
    asked = first.profile_ids[0]
    expected = first.recommend(asked, k=60).item_id
    wrong: list[str] = []
    seen: set[str] = set()
    ended = threading.Event()
    following = Following(root, every_seconds=0.01)

    def ask() -> None:
        while not ended.is_set():
            retriever = following.retriever
            answer = retriever.recommend(asked, k=60)
            seen.add(answer.release_id)
            if answer.release_id != retriever.release_id or answer.item_id != expected:
                wrong.append(answer.release_id)
            ended.wait(0.002)  # who publishes needs the interpreter too

    threads = [threading.Thread(target=ask) for _ in range(2)]
    with following:
        for thread in threads:
            thread.start()
        for _ in range(2):
            info = published(exported, root)
            while info.release_id not in seen:
                ended.wait(0.01)
        ended.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert seen >= {"r000002", "r000003"}
    assert not [one for one in threading.enumerate() if one.name == "release follower"]


def test_a_release_cleared_away_while_it_is_read_gives_way_to_the_next(
    root: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def slow(path: Path, release_id: str, verify: Verify) -> ReleaseInfo:
        info = release_of(path, release_id, verify)
        opened.append(info.release_id)
        if len(opened) == 1:  # all of it happens between the verification and the reading
            published(exported, root)
            prune(root, 1)
        return info

    monkeypatch.setattr(read, "release_of", slow)
    assert Retriever.open(root).release_id == "r000002"
    assert opened == ["r000001", "r000002"]


def test_what_a_profile_decided_holds_through_a_swap(root: Path, exported: Exported, tmp_path: Path) -> None:
    store = ControlsStore.create(tmp_path / "controls.sqlite")
    following = Following(root, controls=store)
    profile_id = following.retriever.profile_ids[0]
    first = following.retriever.recommend(profile_id, k=3).item_id
    store.change(profile_id, lambda held: replace(held, excluded_items=first))
    assert not set(following.retriever.recommend(profile_id, k=3).item_id) & set(first)
    published(exported, root)
    assert following.refresh()
    assert not set(following.retriever.recommend(profile_id, k=3).item_id) & set(first)
