"""What differs between two releases, of exports that differ in known ways."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.compare import Change, compare
from retrieval.release.gates import Gate, GateSettings
from retrieval.release.operations import roll_back
from retrieval.retriever import Retriever
from tests.retrieval.conftest import Exported
from towers.errors import ReleaseError

GATES = GateSettings(k=10)


def test_two_releases_of_one_export_differ_in_nothing_but_their_index(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    history = Retriever.history

    def counted(retriever: Retriever, profile_id: str) -> tuple[str, ...]:
        read.append(profile_id)
        return history(retriever, profile_id)

    monkeypatch.setattr(Retriever, "history", counted)
    for kind in (IndexKind.FLAT, IndexKind.EXACT):
        build_release(exported.model, exported.tables, tmp_path, IndexSpec(kind), GATES)
    found = compare(tmp_path / "r000001", tmp_path / "r000002", k=7, num_profiles=5)
    assert len(read) == 2 * len(set(read))  # once of each release, however many there are
    assert (found.before, found.after) == ("r000001", "r000002")
    assert (found.items_in, found.items_out) == ((), ())
    assert (found.k, found.num_profiles, found.overlap) == (7, 5, 1.0)
    assert found.settings == (Change("index.kind", "flat", "exact"),)
    # The first had no live release to be gated beside.
    assert {change.name for change in found.figures} - set(Gate) == {"size_bytes"}


def test_titles_that_come_and_go_and_answers_that_change(
    exported: Exported, exported_interests: Exported, tmp_path: Path
) -> None:
    build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GATES)
    build_release(exported_interests.model, exported_interests.tables, tmp_path, IndexSpec(), GATES)
    found = compare(tmp_path / "r000001", tmp_path / "r000002", num_profiles=100)
    old, new = (Retriever.open(tmp_path / name) for name in ("r000001", "r000002"))
    shares = [
        len(set(old.recommend(one, k=10).item_id) & set(new.recommend(one, k=10).item_id)) / 10
        for one in old.profile_ids
    ]
    assert found.num_profiles == len(shares) == 24
    assert found.overlap == pytest.approx(sum(shares) / 24)
    assert 0 < sum(shares) / 24 < 1
    assert "model_fingerprint" in {change.name for change in found.figures}


def test_new_and_dropped_titles_are_named_in_their_order(exported: Exported, tmp_path: Path) -> None:
    build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GATES)
    folder = tmp_path / "other"
    shutil.copytree(exported.model, folder / "model")
    shutil.copytree(exported.tables, folder / "tables")
    # The last title under another name: to a viewer one is gone and one is new.
    items = pq.read_table(folder / "tables" / "items.parquet")
    ids = items["item_id"].to_pylist()
    assert (
        ids[-1].startswith("cold")
        or ids[-1] not in pq.read_table(folder / "tables" / "events.parquet")["item_id"].to_pylist()
    )
    renamed = [*ids[:-1], "another"]
    pq.write_table(
        items.set_column(items.schema.get_field_index("item_id"), "item_id", [renamed]),
        folder / "tables" / "items.parquet",
    )
    save_file(load_file(folder / "model" / "items.safetensors"), folder / "model" / "items.safetensors")
    build_release(
        folder / "model", folder / "tables", tmp_path, IndexSpec(), GateSettings(k=10, max_parity_error=9.0)
    )
    found = compare(tmp_path / "r000001", tmp_path)
    assert (found.items_in, found.items_out) == (("another",), (ids[-1],))
    roll_back(tmp_path)
    assert compare(tmp_path / "r000002", tmp_path).items_in == (ids[-1],)


def test_there_must_be_two_releases(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="run scripts/build_index"):
        compare(tmp_path, tmp_path)
