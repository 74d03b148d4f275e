"""The records of `ann`: which points of a sweep stand, what is swept besides, what is compared in one go."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ann_records, ann_versions
from benchmarks.ann_peers import Point
from benchmarks.ann_records import best_settings, main, measured_set, peers_of, standing_set
from benchmarks.ann_sweeps import Peer, Setting, unswept
from benchmarks.ann_vectors import SetName
from benchmarks.ann_versions import SetShape, measured_by, version
from benchmarks.claims import BenchmarkError

NAME, SHAPE = SetName.TOWERS_50K, SetShape(50_000, unit=True)
LISTS, FLAT = {"lists": 8}, {"factory": "Flat"}


@dataclass
class Bench:
    """What is tried of each peer, and what was measured, in order: peer, settings and rounds."""

    settings: dict[Peer, list[Setting]]
    asked: list[tuple[Peer, list[Setting], int]] = field(default_factory=list)

    def swept(
        self, peer: Peer, vectors: Path, settings: Iterable[Setting], *, rounds: int, num_queries: int | None
    ) -> list[Point]:
        settings = list(settings)
        self.asked.append((peer, settings, rounds))
        return [
            Point(
                build=setting.build,
                search=search,
                build_seconds=1.0,
                bytes_per_item=512.0,
                single_recall=1 - 0.2 / (1 + search.get("n", 0)),
                single_qps=100 / (1 + search.get("n", 0)),
                batch_recall=1 - 0.2 / (1 + search.get("n", 0)),
                batch_qps=200 / (1 + search.get("n", 0)),
            )
            for setting in settings
            for line in setting.lines
            for search in line
        ]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Measures by rule; a search of effort n finds more and takes longer the larger n is."""
    made = Bench({peer: [Setting(LISTS, (({"n": 1}, {"n": 3}),))] for peer in Peer})
    monkeypatch.setattr(ann_versions, "sweep", lambda peer, num_items, unit: made.settings[peer])
    monkeypatch.setattr(ann_records, "FOLDER", tmp_path / "ann")
    monkeypatch.setattr(ann_records, "BENCH", tmp_path / "bench")
    monkeypatch.setattr(ann_records, "shape_of", lambda name: SHAPE)
    monkeypatch.setattr(ann_records, "made", lambda name: tmp_path / "vectors.npz")
    monkeypatch.setattr(ann_records, "swept", made.swept)
    return made


def point(build: dict[str, Any], search: dict[str, Any], recall: float, qps: float) -> dict[str, Any]:
    both = {
        f"{mode}_{name}": one
        for mode in ("single", "batch")
        for name, one in (("recall", recall), ("qps", qps))
    }
    return {"build": build, "search": search, "refused": None} | both


def lines(*searches: int) -> list[Setting]:
    return [Setting(LISTS, (tuple({"n": one} for one in searches),))]


def apart(*searches: int) -> list[Setting]:
    """As what is compared: a line each."""
    return [Setting(LISTS, tuple(({"n": one},) for one in searches))]


def test_a_record_stands_until_what_measured_it_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [one for one in peers_of(NAME) if one is not Peer.OWN]
    assert standing_set(NAME) is None
    first = measured_set(NAME)
    assert measured_set(NAME) == standing_set(NAME) == first
    # Each is swept; then our own, and the best of each once more, all in rounds.
    again = [(Peer.OWN, lines(1, 3), 3), *((one, apart(1, 3), 3) for one in others)]
    assert bench.asked == [(one, lines(1, 3), 1) for one in others] + again
    monkeypatch.setattr(
        ann_versions, "measured_by", lambda at, one: "new" if one is Peer.OWN else measured_by(at, one)
    )
    assert standing_set(NAME) is None
    bench.asked.clear()
    measured_set(NAME)
    # Their sweeps stand in the record; all that is compared is measured once more, in one go.
    assert bench.asked == again


def test_a_setting_that_is_added_to_one_peer_is_swept_alone(bench: Bench) -> None:
    measured_set(NAME)
    before = {one: version(NAME, one, SHAPE) for one in Peer}
    bench.settings[Peer.FAISS] = lines(1, 3, 4)
    assert {one for one in Peer if version(NAME, one, SHAPE) != before[one]} == {Peer.FAISS}
    bench.asked.clear()
    found = measured_set(NAME)
    assert bench.asked[0] == (Peer.FAISS, lines(4), 1)
    assert [one for one, _, rounds in bench.asked if rounds == 1] == [Peer.FAISS]
    assert (Peer.FAISS, apart(1, 3, 4), 3) in bench.asked
    first, second = found["sweeps"][Peer.FAISS]
    assert [one["search"]["n"] for one in first["points"]] == [1, 3]
    assert [one["search"]["n"] for one in second["points"]] == [4]
    assert [one["build"] for one in found["peers"][Peer.FAISS]["builds"]] == [LISTS]


def test_a_setting_that_is_no_longer_tried_is_not_compared(bench: Bench) -> None:
    measured_set(NAME)
    bench.settings[Peer.FAISS] = lines(3)
    bench.asked.clear()
    measured_set(NAME)
    assert {rounds for _, _, rounds in bench.asked} == {3}
    assert (Peer.FAISS, apart(3), 3) in bench.asked


def test_a_sweep_that_other_code_measured_is_made_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    main(NAME, [Peer.SCANN])
    bench.asked.clear()
    monkeypatch.setattr(ann_records, "measured_by", lambda at, one: "new")
    main(NAME, [Peer.SCANN])
    assert bench.asked == [(Peer.SCANN, lines(1, 3), 1)]
    (run,) = json.loads((ann_records.FOLDER / f"{NAME}.json").read_text())["sweeps"][Peer.SCANN]
    assert run["measured_by"] == "new"


def test_a_sweep_is_written_build_by_build_and_what_is_compared_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = measured_set(NAME)["peers"]
    bench.settings[Peer.FAISS] = [*lines(1, 3), *(Setting({"lists": one}, (({"n": 2},),)) for one in (1, 2))]

    def broken_off(peer: Peer, vectors: Path, settings: Iterable[Setting], **how: Any) -> list[Point]:
        (setting,) = settings
        if setting.build == {"lists": 2}:
            raise BenchmarkError("broken off")
        return bench.swept(peer, vectors, [setting], **how)

    monkeypatch.setattr(ann_records, "swept", broken_off)
    with pytest.raises(BenchmarkError, match="broken off"):
        main(NAME, [Peer.FAISS])
    found = json.loads((ann_records.FOLDER / f"{NAME}.json").read_text())
    assert [one["build"] for run in found["sweeps"][Peer.FAISS] for one in run["builds"]] == [
        LISTS,
        {"lists": 1},
    ]
    assert found["peers"] == compared
    assert standing_set(NAME) is None
    monkeypatch.setattr(ann_records, "swept", bench.swept)
    bench.asked.clear()
    main(NAME, [])
    assert bench.asked == [(Peer.FAISS, [Setting({"lists": 2}, (({"n": 2},),))], 1)]


def test_code_that_changes_while_it_measures_leaves_no_points(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter(("before", "after"))
    monkeypatch.setattr(ann_records, "measured_by", lambda at, one: next(states))
    with pytest.raises(BenchmarkError, match=r"faiss over towers-50k: .* changed meanwhile"):
        main(NAME, [Peer.FAISS])
    assert not ann_records.FOLDER.exists()


def test_our_own_index_has_no_sweep_and_over_a_million_titles_other_graphs_have_none(bench: Bench) -> None:
    for name, peer in ((NAME, Peer.OWN), (SetName.TOWERS_1M, Peer.VOYAGER)):
        with pytest.raises(BenchmarkError, match=f"{name}: {peer} is not swept; expected faiss, scann"):
            main(name, [peer])
    assert bench.asked == []


def test_what_is_left_of_a_sweep_is_what_no_point_has() -> None:
    other = Setting({"lists": 16}, (({"n": 1},),))
    settings = [Setting(LISTS, (({"n": 1}, {"n": 2}, {"n": 3}), ({"m": 1}, {"m": 2}))), other]
    assert unswept(settings, []) == settings
    points = [
        point(LISTS, {"n": 1}, 0.5, 9.0),
        point(LISTS, {"n": 3}, 0.7, 9.0),
        point(LISTS, {"m": 1}, 0.5, 9.0),
    ]
    assert unswept(settings, points) == [Setting(LISTS, (({"n": 2},), ({"m": 2},))), other]
    points += [point(LISTS, {"n": 2}, 0.6, 9.0), point(LISTS, {"m": 2}, 0.6, 9.0)]
    assert unswept(settings, points) == [other]
    assert unswept(settings, [*points, point(other.build, {"n": 1}, 0.1, 9.0)]) == []


@pytest.mark.parametrize(
    ("second", "left"),
    [
        (point(LISTS, {"n": 2}, 0.9920, 9.0), []),  # there is nothing to compare beyond
        (point(LISTS, {"n": 2}, 0.5004, 9.0), []),  # more effort gains nothing
        (point(LISTS, {"n": 2}, 0.9920, 9.0) | {"batch_recall": 0.6}, lines(3)),
        (point(LISTS, {"n": 2}, 0.5006, 9.0), lines(3)),
        (point(LISTS, {"n": 2}, 0.0, 0.0) | {"refused": "too few found"}, lines(3)),
    ],
)
def test_nothing_is_left_of_a_line_that_has_ended(second: dict[str, Any], left: list[Setting]) -> None:
    assert unswept(lines(1, 2, 3), [point(LISTS, {"n": 1}, 0.5, 9.0), second]) == left


def test_the_best_settings_are_those_that_no_other_beats_in_recall_and_rate() -> None:
    one, other = {"lists": 1}, {"lists": 2}
    points = [
        point(one, {"n": 1}, 0.80, 900.0),  # too low to be compared
        point(one, {"n": 2}, 0.90, 500.0),
        point(one, {"n": 3}, 0.95, 100.0),  # beaten by the next
        point(other, {"n": 3}, 0.96, 200.0),
        point(other, {"n": 4}, 0.97, 50.0) | {"batch_qps": 10.0},  # beaten in batches alone
        point(other, {"n": 5}, 0.98, 40.0),
        point(other, {"n": 6}, 0.99, 60.0) | {"refused": "fewer than k"},
        point(FLAT, {}, 1.0, 1.0),
        point(one, {"n": 9}, 1.0, 2.0),
    ]
    assert best_settings([{"points": points}]) == [
        Setting(FLAT, (({},),)),
        Setting(one, (({"n": 2},), ({"n": 9},))),
        Setting(other, (({"n": 3},), ({"n": 4},), ({"n": 5},))),
    ]


def test_a_run_on_a_faster_machine_beats_no_other_run() -> None:
    slow = [point(LISTS, {"n": 1}, 0.90, 10.0), point(LISTS, {"n": 2}, 0.95, 5.0)]
    fast = [point(LISTS, {"n": 3}, 0.96, 100.0), point(LISTS, {"n": 4}, 0.95, 90.0)]
    assert best_settings([{"points": slow}, {"points": fast}]) == apart(1, 2, 3)


def test_over_a_million_titles_one_graph_is_measured_and_whoever_else_there_is() -> None:
    others = {Peer.OWN, Peer.FAISS, Peer.SCANN, Peer.SCANN_TRANSFORMED}
    for name in SetName:
        graphs = {one for one in Peer if one.is_graph} if "1m" not in name else {Peer.HNSWLIB}
        assert set(peers_of(name)) == others | graphs


def test_a_version_is_of_a_set_a_peer_and_its_settings_there() -> None:
    versions = {version(name, one, SHAPE) for name in SetName for one in Peer}
    assert len(versions) == len(SetName) * len(Peer)
    for shape in (replace(SHAPE, num_items=1_000_000), replace(SHAPE, unit=False)):
        assert version(NAME, Peer.FAISS, shape) != version(NAME, Peer.FAISS, SHAPE)
        assert version(NAME, Peer.OWN, shape) == version(NAME, Peer.OWN, SHAPE)
