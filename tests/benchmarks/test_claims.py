"""A claim is met, missed or not measured, and never anything in between."""

import math
from pathlib import Path

import pytest

from benchmarks.claims import BenchmarkError, Bound, Claim, Sign, Verdict, read_claims, spelled


def claim(*, needs_gpu: bool = False) -> Claim:
    return Claim("speed", "data", needs_gpu, {"rate": Bound(Sign.AT_LEAST, 10.0)})


def test_the_project_promises_what_its_claims_file_says() -> None:
    claims = read_claims()
    assert str(claims["demo"].bounds["seconds"]) == "<= 180"
    assert str(claims["movielens-small"].bounds["n10_over_item_knn"]) == ">= 1.05"
    assert claims["gpu-topk"].needs_gpu
    assert not claims["ann"].needs_gpu
    assert claims["movielens-small"].module == "benchmarks.movielens_small"


@pytest.mark.parametrize(
    ("sign", "kept", "broken"),
    [
        (Sign.AT_LEAST, [10.0, 11.0], [9.99]),
        (Sign.AT_MOST, [10.0, 9.0], [10.01]),
        (Sign.EQUAL, [10.0], [9, 11]),
    ],
)
def test_a_bound_includes_its_value(sign: Sign, kept: list[float], broken: list[float]) -> None:
    bound = Bound(sign, 10.0)
    assert all(bound.holds(figure) for figure in kept)
    assert not any(bound.holds(figure) for figure in [*broken, math.nan])


def test_a_figure_that_was_not_measured_is_neither_met_nor_missed() -> None:
    assert claim().verdict("rate", {}) is Verdict.NOT_MEASURED
    assert claim().verdict("rate", {"rate": None}) is Verdict.NOT_MEASURED
    assert claim(needs_gpu=True).verdict("rate", {"rate": None}) is Verdict.NEEDS_GPU
    assert claim(needs_gpu=True).verdict("rate", {"rate": 10.0}) is Verdict.MET
    assert claim().verdict("rate", {"rate": 0.0}) is Verdict.MISSED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[a]\nrate = [">=", 1]', r"\[a\] has no capability"),
        ('[a]\ncapability = "data"', r"\[a\] promises nothing"),
        (
            '[a]\ncapability = "data"\nrate = [">", 1]',
            r"\[a\] rate: found \['>', 1\]; expected \[sign, number\]",
        ),
        ('[a]\ncapability = "data"\nrate = 1', r"\[a\] rate: found 1"),
        ('[a]\ncapability = "data"\nrate = [">=", "1"]', r"\[a\] rate: found"),
    ],
)
def test_a_badly_written_claim_says_where_it_is(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(text)
    with pytest.raises(BenchmarkError, match=said):
        read_claims(path)


@pytest.mark.parametrize(
    ("figure", "text"), [(1_000_000.0, "1,000,000"), (1.0523, "1.052"), (0.0, "0"), (1.5, "1.5")]
)
def test_figures_are_spelled_for_people(figure: float, text: str) -> None:
    assert spelled(figure) == text
