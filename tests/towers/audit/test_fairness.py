"""Quality by group, planted; exposure by hand."""

import numpy as np
import pytest

from towers.audit.exposure import group_exposure, item_exposure
from towers.audit.fairness import fairness
from towers.errors import QueryError


def test_a_planted_gap_is_the_ratio_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    country = np.repeat(["DE", "US", "KR"], [400, 400, 10])
    quality = (rng.random(810) < np.where(country == "DE", 0.2, 0.4)).astype(np.float64)
    quality[800:] = 0.0
    found = fairness(quality, [("country", country)])
    assert [group.group for group in found.groups] == ["US", "DE", "KR"]
    assert [group.known for group in found.groups] == [True, True, False]
    assert found.ratio == pytest.approx(quality[:400].mean() / quality[400:800].mean())
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high < 1.0


def test_groups_within_groups_show_what_neither_dimension_does() -> None:
    # Each country and each age has the same mean; two of the four crossings have nothing.
    country = np.repeat(["DE", "DE", "US", "US"], 50)
    age = np.tile(np.repeat(["old", "young"], 50), 2)
    quality = np.where((country == "DE") == (age == "old"), 1.0, 0.0)
    assert fairness(quality, [("country", country)]).ratio == 1.0
    crossed = fairness(quality, [("country", country), ("age", age)])
    assert crossed.dimension == "country & age"
    assert (crossed.ratio, crossed.groups[0].group) == (0.0, "DE & old")


def test_too_few_groups_have_no_ratio_and_who_does_not_say_is_unknown() -> None:
    found = fairness(np.ones(40), [("country", np.array(["DE"] * 35 + [""] * 5))])
    assert found.ratio is None
    assert [(group.group, group.known) for group in found.groups] == [("DE", True), ("unknown", False)]
    with pytest.raises(QueryError, match="0 questions"):
        fairness(np.zeros(0), [("country", np.zeros(0, np.str_))])


def test_exposure_over_merit_by_hand() -> None:
    rows = np.array([[0, 1], [0, -1]])
    exposure = item_exposure(rows, 3)
    second = 1 / np.log2(3)
    assert exposure.tolist() == pytest.approx([2.0, second, 0.0])
    groups = group_exposure(exposure, np.array([1.0, 1.0, 2.0]), [["Crime"], ["Crime", "Drama"], []])
    assert {group.group: group.num_titles for group in groups} == {"Crime": 2, "Drama": 1, "unknown": 1}
    found = {group.group: [group.exposure, group.merit] for group in groups}
    total = 2 + second
    assert found["Crime"] == pytest.approx([(2 + second / 2) / total, 1.5 / 4])
    assert found["Drama"] == pytest.approx([second / 2 / total, 0.5 / 4])
    assert found["unknown"] == pytest.approx([0.0, 0.5])
    assert [group.ratio for group in groups if group.group == "unknown"] == [0.0]
    with pytest.raises(QueryError, match="expected one catalogue"):
        group_exposure(exposure, np.zeros(3), [[]] * 2)
