"""A release made from another answers as one that is built of the same tables."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.catalogue import Catalogue
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.rules import Available, GenresAny, ItemIn, Not, Rule
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.rebuild.plan import Work
from retrieval.rebuild.run import rebuild
from retrieval.rebuild.summary import Outcome
from retrieval.release.digests import DIGESTS_FILE
from retrieval.release.store import open_release
from retrieval.release.titles import LINES_FILE, Lines, read_lines, read_titles, write_lines, write_titles
from retrieval.release.verify import Verify
from retrieval.retriever import Retriever
from tests.retrieval.rebuild.worlds import Artifacts, Title, World, world
from towers.errors import IntegrityError, UnknownIdError

RULES: tuple[Rule | None, ...] = (None, Available("FR", 1_750_000_000), Not(GenresAny(("Drama",))))
CHANGES = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 4)),
    st.tuples(st.just("remove"), st.integers(0, 60)),
    st.tuples(st.just("turn"), st.integers(0, 60)),  # into another genre, which the towers read
    st.tuples(st.just("license"), st.integers(0, 60)),
    st.tuples(st.just("rename"), st.integers(0, 60)),
    st.tuples(st.just("watch"), st.integers(0, 60)),
    st.tuples(st.just("return"), st.just(0)),  # of a title that was removed
)


def changed(told: World, what: str, number: int, year: int) -> World:
    ids = list(told.titles)
    item_id = ids[number % len(ids)]
    title = told.titles[item_id]
    match what:
        case "add":
            return told.with_titles(**{f"n{year}": Title(f"Fresh{year}", number, year)})
        case "remove":
            return told.with_titles(**{item_id: None})
        case "turn":
            return told.with_titles(**{item_id: replace(title, genre=(title.genre + 1) % 5)})
        case "license":
            return told.with_titles(**{item_id: replace(title, country="FR")})
        case "rename":
            return told.with_titles(**{item_id: replace(title, name=f"Other{year}")})
        case "watch":
            who = f"p{number % 12}"
            return told if item_id in told.watched[who] else told.with_watch(who, item_id)
        case _:
            back = [one for one in world().titles if one not in told.titles]
            return told.with_titles(**{back[0]: world().titles[back[0]]}) if back else told


def answers(retriever: Retriever) -> dict[str, object]:
    """What a release says, in what does not depend on the order of its rows."""
    ids = sorted(retriever.items.ids)
    said: dict[str, object] = {"ids": ids, "titles": [retriever.items[one].title for one in ids]}
    for place, rule in enumerate(RULES):
        said[f"count {place}"] = retriever.eligibility.count(rule)
        for who in retriever.profile_ids:
            said[f"{who} {place}"] = retriever.recommend(who, k=8, rule=rule).item_id
        popular = retriever.recommend(k=len(ids), rule=rule)
        said[f"popular {place}"] = sorted(popular), popular.score.tolist()
    for one in ids[::7]:
        said[f"similar {one}"] = retriever.similar(one, k=6).item_id
    for text in ("name003", "fresh", "name01", "drama", "other", "horror 1907", "not drama"):
        found = retriever.search(text, k=len(ids))
        said[f"search {text}"] = sorted((one, round(score, 4)) for one, score in found), found.degraded
    said["suggest"] = sorted(retriever.suggest("n", k=len(ids)))
    exact = retriever.exact()
    assert exact is not None
    row = exact.rank(retriever.questions(0, len(retriever.profile_ids)), 8).item_row
    said["exact"] = [[retriever.items.vocabulary.id(one) for one in line] for line in row.tolist()]
    return said


def reseal(folder: Path, manifest: dict[str, Any]) -> None:
    sealed = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(sealed)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(sealed).hexdigest()}  manifest.json\n")


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_deltas_of_random_changes_answer_as_a_fresh_build(
    data: st.DataObject, begun: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("deltas")
    shutil.copytree(begun.folder, folder / "artifacts")
    service, told, year = Artifacts(folder / "artifacts"), world(), 2000
    for _ in range(3):
        for what, number in data.draw(st.lists(CHANGES, min_size=1, max_size=4)):
            year += 1
            told = changed(told, what, number, year)
        summary = rebuild(service.job(told))
        assert summary.plan is not None
        assert summary.outcome in (Outcome.NOTHING, Outcome.PUBLISHED)
        assert summary.plan.work is Work.NOTHING or summary.plan.work.keeps_the_index
    service.fresh(told, folder / "fresh")
    assert answers(Retriever.open(service.root)) == answers(Retriever.open(folder / "fresh" / "releases"))


@pytest.mark.parametrize("kind", [IndexKind.FLAT, IndexKind.HNSW, IndexKind.IVF, IndexKind.PARTITIONED])
def test_every_kind_of_index_is_served_with_a_delta(
    kind: IndexKind, begun: Artifacts, tmp_path: Path
) -> None:
    shutil.copytree(begun.folder, tmp_path / "artifacts", ignore=shutil.ignore_patterns("releases"))
    service, spec = Artifacts(tmp_path / "artifacts"), IndexSpec(kind)
    service.build(spec)
    told = world().with_titles(t003=None, t011=None, n1=Title("Fresh", 2, 2001))
    assert rebuild(service.job(told, index=spec)).outcome is Outcome.PUBLISHED
    retriever = Retriever.open(service.root)
    shown = retriever.recommend("p1", k=100).item_id
    assert set(shown) == set(told.titles) - set(told.watched["p1"])
    assert "n1" in retriever.similar("t012", k=40).item_id


def test_a_removed_title_is_nowhere_and_a_new_one_everywhere(service: Artifacts) -> None:
    told = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001))
    summary = rebuild(service.job(told))
    assert summary.plan is not None
    assert summary.plan.work is Work.DELTA
    retriever = Retriever.open(service.root)
    assert len(retriever.items) == 40
    assert "t003" not in retriever.items
    with pytest.raises(UnknownIdError):
        retriever.similar("t003")
    for rule in (None, Not(ItemIn(("t999",)))):
        every = {
            *retriever.recommend(k=100, rule=rule).item_id,
            *retriever.recommend("p2", k=100, rule=rule).item_id,
            *retriever.similar("t004", k=100, rule=rule).item_id,
            *retriever.search("name", k=100, rule=rule).item_id,
            *retriever.suggest("name", k=100, rule=rule),
        }
        assert every <= set(told.titles)
        assert "n1" in every
    assert retriever.search("newcomer", k=5).item_id == ("n1",)
    assert "t003" not in retriever.search("name003", k=100).item_id
    given_ = retriever.recommend(history=["t003", "t004"], k=5)
    assert given_.num_unknown_items == 1


def test_what_is_as_it_was_is_one_file_with_the_older_release(service: Artifacts) -> None:
    before = open_release(service.root)
    told = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001))
    rebuild(service.job(told))
    after = open_release(service.root)
    linked = {name for name in after.manifest.files if (after.folder / name).stat().st_nlink > 1}
    of_titles = {"items.parquet", "items.safetensors", DIGESTS_FILE}
    assert linked == {"index.safetensors", "model.json", "towers.safetensors", *of_titles}
    for name in linked:
        assert after.manifest.files[name] == before.manifest.files[name]
    assert after.manifest.parent == before.release_id
    assert after.manifest.description.num_items == 40


def test_damage_to_a_file_of_the_older_release_is_not_hashed_as_sound(service: Artifacts) -> None:
    before = open_release(service.root)
    path = before.folder / "towers.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = world().with_titles(n1=Title("Newcomer", 2, 2001))
    refused = rebuild(service.job(told))
    assert refused.outcome is Outcome.FAILED
    assert "towers.safetensors: SHA-256" in str(refused.error)
    # Who trusts the disk links the damage too; whoever opens the release in full then finds it.
    rebuild(service.job(told, verify=Verify.TRUSTED))
    with pytest.raises(IntegrityError, match="SHA-256"):
        Retriever.open(service.root)


def test_a_title_whose_vector_stays_keeps_its_row(service: Artifacts) -> None:
    title = world().titles["t005"]
    told = world().with_titles(t005=Title("Renamed", title.genre, title.year))
    summary = rebuild(service.job(told))
    assert summary.plan is not None
    assert summary.plan.work is Work.ELIGIBILITY
    retriever = Retriever.open(service.root)
    assert retriever.items.num_rows == 40
    assert retriever.search("renamed").item_id == ("t005",)
    arrays = json.loads((open_release(service.root).folder / "manifest.json").read_text())
    assert arrays["counts"]["items"] == 40
    assert np.array_equal(retriever.items.rows, np.arange(40))


def test_a_delta_with_a_table_of_licences_that_fell_short_is_stopped(service: Artifacts) -> None:
    told = world()
    for name, title in list(told.titles.items())[:30]:
        told = told.with_titles(**{name: replace(title, country="FR")})
    summary = rebuild(service.job(told.with_titles(n1=Title("Fresh", 2, 2001))))
    assert summary.outcome is Outcome.REFUSED
    assert "FAILED available: 0.268293, expected >= 0.5" in str(summary.error)
    assert "FAILED licences_changed: 0.75, expected <= 0.5" in str(summary.error)
    assert Retriever.open(service.root).release_id == "r000001"


def test_a_release_from_before_there_were_digests_gets_them_by_a_delta(service: Artifacts) -> None:
    live = open_release(service.root).folder
    kept = (live / DIGESTS_FILE).read_bytes()
    (live / DIGESTS_FILE).unlink()
    manifest = json.loads((live / "manifest.json").read_text())
    del manifest["files"][DIGESTS_FILE]
    reseal(live, manifest)
    assert rebuild(service.job(world())).outcome is Outcome.NOTHING
    told = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001))
    told = told.with_titles(t007=replace(told.titles["t007"], name="Renamed"))
    summary = rebuild(service.job(told))
    assert summary.plan is not None
    assert summary.plan.changes == {
        "num_added": 1,
        "num_changed": 0,
        "num_removed": 1,
        "num_described_only": 1,
        "histories_changed": True,
    }
    assert (open_release(service.root).folder / DIGESTS_FILE).read_bytes() == kept
    assert rebuild(service.job(told)).outcome is Outcome.NOTHING


def test_titles_that_are_not_what_their_digests_say_stop_a_delta(service: Artifacts) -> None:
    path = open_release(service.root).folder / DIGESTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = world().with_titles(n1=Title("Newcomer", 2, 2001))
    summary = rebuild(service.job(told, verify=Verify.TRUSTED))
    assert summary.outcome is Outcome.FAILED
    assert "1 of 40 rows that were looked at, first row 39, are not what their digests are of" in str(
        summary.error
    )


def test_lines_that_are_not_those_of_the_tables_stop_a_delta(
    service: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(folder: Path, lines: Lines) -> None:
        items = lines.items.to_pylist()
        items[-1]["licences"] = []
        write_lines(folder, Lines(lines.row, type(lines.items).from_pylist(items, lines.items.schema)))

    monkeypatch.setattr("retrieval.rebuild.publish.write_lines", stale)
    summary = rebuild(service.job(world().with_titles(n1=Title("Newcomer", 2, 2001))))
    assert summary.outcome is Outcome.FAILED
    assert "titles are not as the tables have them" in str(summary.error)


def test_rules_that_are_compiled_of_other_facts_stop_a_delta(
    service: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(catalogue: Catalogue) -> Eligibility:
        order = np.roll(np.arange(catalogue.num_rows), 1)
        return Eligibility(Catalogue(catalogue.table.take(order)))

    monkeypatch.setattr("retrieval.rebuild.delta_titles.Eligibility", shifted)
    summary = rebuild(service.job(world().with_titles(n1=Title("Newcomer", 2, 2001))))
    assert summary.outcome is Outcome.REFUSED
    assert "FAILED eligibility_parity" in str(summary.error)


def test_titles_are_written_once_and_then_what_they_say_otherwise(service: Artifacts) -> None:
    told = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001))
    told = told.with_titles(t007=replace(told.titles["t007"], name="Renamed"))
    rebuild(service.job(told))
    first = read_lines(open_release(service.root).folder)
    assert first.row.tolist() == [3, 7, 40]
    assert first.items["title"].to_pylist() == ["", "Renamed", "Newcomer"]
    told = told.with_titles(n2=Title("Another", 1, 2002))
    rebuild(service.job(told))
    second = open_release(service.root).folder
    assert read_lines(second).row.tolist() == [3, 7, 40, 41]
    assert read_lines(second).items["title"].to_pylist() == ["", "Renamed", "Newcomer", "Another"]
    assert (second / "items.parquet").samefile(service.root / "r000001" / "items.parquet")


def test_histories_alone_leave_the_titles_to_be_shared(service: Artifacts) -> None:
    before = Retriever.open(service.root)
    unseen = next(one for one in world().titles if one not in world().watched["p1"])
    summary = rebuild(service.job(world().with_watch("p1", unseen)))
    assert summary.plan is not None
    assert summary.plan.work is Work.HISTORIES
    after = Retriever.open(service.root, like=before)
    assert after.release_id == "r000002"
    assert after.items is before.items
    assert unseen in after.history("p1")


def test_a_live_release_that_does_not_open_is_gone_on_from(
    service: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001))
    rebuild(service.job(told))
    told = told.with_titles(t007=replace(told.titles["t007"], name="Renamed"), n2=Title("Fresh", 1, 2002))
    with monkeypatch.context() as patched:
        patched.setattr("retrieval.rebuild.survey.placed", lambda live, store_keys, known: None)
        assert rebuild(service.job(told)).outcome is Outcome.PUBLISHED
    service.fresh(told, tmp_path / "fresh")
    assert answers(Retriever.open(service.root)) == answers(Retriever.open(tmp_path / "fresh" / "releases"))


def test_a_delta_whose_titles_are_one_file_is_gone_on_from(service: Artifacts, tmp_path: Path) -> None:
    """As they were written until format 3: a line for each row, those of added titles too."""
    told = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001), n2=Title("Fresh", 1, 2002))
    rebuild(service.job(told))
    live = open_release(service.root).folder
    whole = read_titles(live)
    (live / LINES_FILE).unlink()
    for name in ("items.parquet", DIGESTS_FILE):
        (live / name).unlink()  # not through its other name
    write_titles(live, whole)
    manifest = json.loads((live / "manifest.json").read_text())
    del manifest["files"][LINES_FILE], manifest["files"][DIGESTS_FILE]
    content = (live / "items.parquet").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"]["items.parquet"] = {"sha256": digest, "size_bytes": len(content)}
    manifest["format_version"] = 3
    reseal(live, manifest)
    told = told.with_titles(n1=None, t005=replace(told.titles["t005"], name="Other"))
    summary = rebuild(service.job(told))
    assert summary.plan is not None
    assert summary.plan.work is Work.DELTA
    service.fresh(told, tmp_path / "fresh")
    assert answers(Retriever.open(service.root)) == answers(Retriever.open(tmp_path / "fresh" / "releases"))
