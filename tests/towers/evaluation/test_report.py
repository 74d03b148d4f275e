"""The report says what a reader must know and compares only what can be compared."""

import io
import json
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from rich.console import Console

from tests.towers.evaluation.questions import Scripted, questions
from towers.errors import QueryError
from towers.evaluation.evaluate import Evaluation, Slice, evaluate
from towers.evaluation.report import Protocol, Report, best_of, difference, render, to_json
from towers.evaluation.significance import sign_flip
from towers.evaluation.slices import SliceKind, TargetSlice
from towers.recommender import Degraded, Queries, Rankings

NUM_ITEMS = 20
NUM_QUERIES = 12
PROTOCOL = Protocol(data="planted", split="leave one out")
KNOWN = [list(range(length)) for length in range(NUM_QUERIES)]
TARGET = 15


def evaluation_of(name: str, num_hits: int, *, rank: int = 1, reason: Degraded | None = None) -> Evaluation:
    """An evaluation in which the first `num_hits` of 12 questions hit their target at `rank`."""
    line = [16, 17, 18]
    hit = [*line[: rank - 1], TARGET, *line[rank - 1 :]]
    rows = [hit if query < num_hits else [16, 17, 18, 19] for query in range(NUM_QUERIES)]
    held_out = questions(KNOWN, [[TARGET]] * NUM_QUERIES)
    seen = np.ones(NUM_ITEMS, dtype=bool)
    recommender = Scripted(rows, (reason,) * NUM_QUERIES if reason else ())
    return evaluate(recommender, held_out, num_items=NUM_ITEMS, ks=(1, 3), seen=seen, name=name)


@dataclass(frozen=True)
class Rows:
    """Answers the questions, all asked at once, with these rows."""

    rows: np.ndarray

    def rank(self, queries: Queries, k: int) -> Rankings:
        assert len(queries) == len(self.rows)
        return Rankings(
            self.rows[:, :k], -np.arange(k, dtype=np.float32) * np.ones_like(self.rows, np.float32)
        )


@pytest.fixture
def report() -> Report:
    rows = (evaluation_of("popular", 3), evaluation_of("item-kNN", 6), evaluation_of("towers", 12, rank=2))
    return Report(PROTOCOL, rows, reference="item-kNN", k=3)


def printed(report: Report, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(report))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def cells(report: Report) -> list[list[str]]:
    """The cells of each line where there is room for all; a name of several words is as many cells."""
    return [re.findall(r"\S+ \[[^\]]*\]|\S+", line) for line in printed(report, 400).splitlines()]


def test_the_protocol_is_stated(report: Report) -> None:
    text = printed(report)
    for stated in ("planted", "leave one out", "own history is left out", "all items of the catalogue (20)"):
        assert stated in text
    assert "queries: 12 with 12 targets; k = 1, 3" in text
    assert "ΔN@3: against item-kNN, with the 95 % interval" in text
    assert "2,000 resamples, seed 0" in text


def test_a_row_holds_what_was_measured(report: Report) -> None:
    lines = cells(report)
    columns = ["recommender", "R@1", "R@3", "N@1", "N@3", "MRR@3", "cov@3", "ΔN@3 [95 %]"]
    assert columns in lines
    rows = {line[0]: line for line in lines if len(line) == len(columns)}
    # 3 of 12 at rank 1; 6 of 12 at rank 1, the reference; 12 of 12 at rank 2.
    assert rows["popular"][1:7] == [".2500", ".2500", ".2500", ".2500", ".2500", "20.0%"]
    assert rows["item-kNN"][1:] == [".5000", ".5000", ".5000", ".5000", ".5000", "20.0%", "–"]
    assert rows["towers"][1:7] == [".0000", "1.0000", ".0000", ".6309", ".5000", "15.0%"]
    assert rows["popular"][7].startswith("-.2500 [")
    assert rows["towers"][7].startswith("+.1309 [")


def perfect(name: str, ks: tuple[int, ...]) -> Evaluation:
    """Every question hit at rank 1: its 1.0000 are the widest numbers that a metric can have."""
    held_out = questions(KNOWN, [[TARGET]] * NUM_QUERIES)
    seen = np.ones(NUM_ITEMS, dtype=bool)
    hits = Scripted([[TARGET]] * NUM_QUERIES)
    return evaluate(hits, held_out, num_items=NUM_ITEMS, ks=ks, seen=seen, name=name)


@pytest.mark.parametrize(
    ("ks", "names", "width", "num_tables"),
    [
        ((10, 100), ("popular", "popular_recent"), 80, 1 + 1),
        ((1, 5, 10, 20, 50, 100), ("popular", "popular_recent"), 80, 2 + 3),
        ((10, 100), ("popular", "item_knn with a hundred neighbours, shrunk, recent"), 80, 3 + 3),
        ((10, 100), ("popular", "popular_recent"), 40, 3 + 3),
    ],
)
def test_no_number_is_cut_however_narrow_the_terminal(
    ks: tuple[int, ...], names: tuple[str, ...], width: int, num_tables: int
) -> None:
    rows = tuple(perfect(name, ks) for name in names)
    report = Report(PROTOCOL, rows, reference="popular", k=10)
    text = printed(report, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert sum(line.startswith("recom") for line in text.splitlines()) == num_tables
    for name in ("recommender", *names):
        line = next(line for line in cells(report) if line[: len(name.split())] == name.split())
        # Where there is room for every cell, they stand whole; here too.
        assert all(cell in text for cell in line)


def test_the_difference_is_against_the_reference_over_the_same_questions(report: Report) -> None:
    differences = report.differences()
    assert set(differences) == {"popular", "towers"}
    # Queries 3 to 5 are the only ones on which the two differ: by 1 each of 12.
    assert differences["popular"].difference == pytest.approx(-0.25)
    assert differences["towers"].low < 0.0 < differences["towers"].high
    assert -0.5 <= differences["popular"].low <= -0.25 <= differences["popular"].high <= 0.0


def test_what_is_shown_has_a_row_of_its_own(report: Report) -> None:
    lines = cells(report)
    columns = ["recommender", "MAP@1", "MAP@3", "Gini@1", "Gini@3", "nov@1", "nov@3", "lift@1", "lift@3"]
    assert columns in lines
    # One target per question: precision at its hit is 1 / rank. No train events are known here.
    row = next(line for line in lines[lines.index(columns) :] if line[0] == "towers")
    assert row[1:3] == [".0000", ".5000"]
    assert row[5:] == ["–"] * 4


def named_slices(num_planted: int, seed: int = 0) -> tuple[Evaluation, Evaluation]:
    """Two recommenders over 12 slices of 40 questions; the second is better on the first few slices alone."""
    rng = np.random.default_rng(seed)
    num_slices, size = 12, 40
    num = num_slices * size
    part = np.arange(num) // size
    held_out = questions([[0]] * num, [[TARGET]] * num)
    slices = [TargetSlice(SliceKind.COUNTRY, f"C{each}", part == each) for each in range(num_slices)]
    both = []
    for name, share in (("old", np.full(num, 0.3)), ("new", np.where(part < num_planted, 0.9, 0.3))):
        hits = rng.random(num) < share
        rows = np.where(hits, TARGET, 16)[:, None]
        answers = Rows(rows)
        both.append(evaluate(answers, held_out, num_items=NUM_ITEMS, ks=(1,), slices=slices, name=name))
    return both[0], both[1]


def test_a_planted_slice_is_found_and_the_others_are_not_called_different() -> None:
    old, new = named_slices(num_planted=2)
    report = Report(PROTOCOL, (old, new), reference="old", k=1)
    found = {row.part for row in report.slice_rows if row.comparison and row.comparison.p_value <= 0.05}
    assert found == {"country=C0", "country=C1"}
    planted = next(row for row in report.slice_rows if (row.part, row.recommender) == ("country=C0", "new"))
    interval, gap = planted.intervals["ndcg@1"], planted.detectable_gaps["ndcg@1"]
    assert interval is not None
    assert gap is not None
    assert interval.low <= 0.9 <= interval.high
    # 40 questions at .9 against 440 at about .35: 2.80 standard errors of some .053.
    assert gap == pytest.approx(2.8 * np.sqrt(0.9 * 0.1 / 40 + 0.35 * 0.65 / 440), rel=0.35)


def test_the_p_values_of_the_slices_are_corrected_over_all_of_them() -> None:
    old, new = named_slices(num_planted=1)
    report = Report(PROTOCOL, (old, new), reference="old", k=1, num_flips=500)
    found = {row.part: row.comparison.p_value for row in report.slice_rows if row.comparison}
    assert len(found) == 12
    plain = {
        part: sign_flip(new.per_query("ndcg@1", part), old.per_query("ndcg@1", part), num_flips=500)
        for part in found
    }
    # The smallest of twelve is taken twelve times, and the order stays.
    assert plain["country=C0"] == min(plain.values())
    assert found["country=C0"] == pytest.approx(12 * plain["country=C0"])
    second = sorted(plain, key=plain.__getitem__)[1]
    assert found[second] == pytest.approx(min(1.0, 11 * plain[second]))


def test_without_any_difference_few_worlds_show_one_on_any_slice() -> None:
    num_alarms = 0
    for seed in range(8):
        report = Report(
            PROTOCOL, named_slices(0, seed), reference="old", k=1, num_resamples=20, num_flips=999
        )
        num_alarms += any(row.comparison and row.comparison.p_value <= 0.05 for row in report.slice_rows)
    assert num_alarms <= 2  # of 8 worlds at 5 %, more have a chance of .6 %


def test_a_single_question_has_no_interval_no_gap_and_no_verdict(report: Report) -> None:
    row = next(row for row in report.slice_rows if (row.part, row.recommender) == ("new_profiles", "towers"))
    assert row.num_queries == 1
    assert row.intervals["ndcg@3"] is None
    assert row.detectable_gaps["ndcg@3"] is None
    assert row.comparison is None
    assert ["new", "profiles", "towers", "1*", "1", "1.0000", ".6309", "–", "–", "–", "–"] in cells(report)


def test_json_carries_the_slices_with_what_is_sure_of_them(report: Report) -> None:
    read = json.loads(json.dumps(to_json(report), allow_nan=False))["slices"]
    assert (read["metric"], read["reference"], read["min_queries"]) == ("ndcg@3", "item-kNN", 30)
    rows = {(row["slice"], row["recommender"]): row for row in read["rows"]}
    known = rows["known_profiles", "popular"]
    assert known["few_queries"]
    assert known["intervals"]["recall@3"]["mean"] == pytest.approx(2 / 11)
    assert known["gaps"]["recall@3"] == pytest.approx(2 / 11 - 1)  # the rest is one new profile that is hit
    assert known["difference"]["difference"] == pytest.approx(-3 / 11)
    assert 0.0 < known["difference"]["p_value"] <= 1.0
    assert rows["known_profiles", "item-kNN"]["difference"] is None


def test_the_p_value_of_a_difference_is_corrected_over_the_rows(report: Report) -> None:
    # Against item-kNN popular differs by 1 on 3 questions: 2 of 8 patterns are as far; the smaller of the two
    # rows is doubled and the other is no less.
    read = to_json(report)["differences"]["rows"]
    assert read["popular"]["p_value"] == pytest.approx(2 * 2 / 8)


def test_two_evaluations_can_be_compared_on_one_slice() -> None:
    exact, served = evaluation_of("exact", 6), evaluation_of("served", 5)
    interval = difference(served, exact, "recall@3", Slice.KNOWN_PROFILES)
    assert interval.difference == pytest.approx(-1 / 11)


def test_slices_are_shown_apart_with_their_counts(report: Report) -> None:
    rows = [line[:7] for line in cells(report)]
    # Question 0 has no history, and popular and item-kNN hit it.
    assert ["new", "profiles", "popular", "1*", "1", "1.0000", "1.0000"] in rows
    assert ["known", "profiles", "item-kNN", "11*", "11", ".4545", ".4545"] in rows


def test_a_slice_that_is_empty_is_said_to_be_and_its_complement_not_repeated(report: Report) -> None:
    text = printed(report)
    assert "cold items: none in this split" in text
    assert "seen items" not in text


def test_degraded_answers_are_told() -> None:
    rows = (evaluation_of("served", 5, reason=Degraded.EMPTY_HISTORY),)
    text = printed(Report(PROTOCOL, rows, reference="served", k=3))
    assert "served: 12 of 12 answers degraded (empty_history)" in text


def test_json_carries_protocol_numbers_and_differences(report: Report) -> None:
    read = json.loads(json.dumps(to_json(report), allow_nan=False))
    assert read["protocol"] == {
        "data": "planted",
        "split": "leave one out",
        "seen_filter": "the profile's own history is left out",
        "candidates": "all items of the catalogue",
        "num_queries": 12,
        "num_items": 20,
    }
    assert read["recommenders"]["towers"]["ndcg@3"] == pytest.approx(0.63093, abs=1e-5)
    assert read["differences"]["reference"] == "item-kNN"
    assert read["differences"]["rows"]["popular"]["difference"] == pytest.approx(-0.25)


def test_a_name_with_a_bracket_is_no_markup() -> None:
    rows = (evaluation_of("a|b [bold]", 5),)
    report = Report(PROTOCOL, rows, reference="a|b [bold]", k=3)
    assert "a|b [bold]" in printed(report)


def test_the_best_simple_rung_is_found() -> None:
    rungs = (evaluation_of("one", 3), evaluation_of("two", 7), evaluation_of("three", 7))
    assert best_of(rungs, "ndcg@3") == "two"
    with pytest.raises(QueryError, match="no evaluations"):
        best_of((), "ndcg@3")


def test_evaluations_of_other_questions_are_not_compared() -> None:
    one, other = evaluation_of("one", 3), evaluation_of("two", 4)
    moved = replace(other, profile_row=other.profile_row + 1)
    with pytest.raises(QueryError, match="one and two were not evaluated on the same questions"):
        Report(PROTOCOL, (one, moved), reference="one", k=3)
    with pytest.raises(QueryError, match="not evaluated on the same questions"):
        difference(one, replace(other, ks=(1,)), "ndcg@1")


def test_evaluations_of_other_targets_of_the_same_profiles_are_not_compared() -> None:
    one, other = evaluation_of("one", 3), evaluation_of("two", 4)
    elsewhere = replace(other, target_row=other.target_row + 1)
    parted = replace(other, target_offset=other.target_offset - (np.arange(NUM_QUERIES + 1) == 1))
    for against in (elsewhere, parted):
        with pytest.raises(QueryError, match="one and two were not evaluated on the same questions"):
            Report(PROTOCOL, (one, against), reference="one", k=3)
        with pytest.raises(QueryError, match="not evaluated on the same questions, targets"):
            difference(against, one, "ndcg@1")


@pytest.mark.parametrize(
    ("names", "reference", "k", "message"),
    [
        (("a", "a"), "a", 3, "unique names"),
        (("a", "b"), "c", 3, "reference 'c'"),
        ((), "a", 3, "reference 'a'"),
        (("a", "b"), "a", 10, "k = 10 was not evaluated"),
    ],
)
def test_a_report_that_would_mislead_is_refused(
    names: tuple[str, ...], reference: str, k: int, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        Report(PROTOCOL, tuple(evaluation_of(name, 3) for name in names), reference=reference, k=k)
