"""The output audit of a recommender whose answers, and so whose figures, are worked out by hand."""

from dataclasses import replace
from math import log2

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from towers.audit.output_report import OutputAudit, OutputSettings, audit_output, render
from towers.data.histories import Histories
from towers.data.schema import ITEMS, PROFILES, table
from towers.data.split import HeldOut
from towers.errors import QueryError
from towers.recommender import Queries, Rankings

NUM_EACH = 40
TITLES = table(
    ITEMS, {"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "genres": [["Crime"], ["Drama"], ["Drama"]]}
)
WATCHES = np.array([10, 5, 0])


class FirstTwo:
    """The titles 0 and 1, in this order, for everybody."""

    def rank(self, queries: Queries, k: int) -> Rankings:
        lines = len(queries)
        return Rankings(
            np.tile(np.arange(k), (lines, 1)), np.tile(np.linspace(1, 0, k, dtype=np.float32), (lines, 1))
        )


def asked() -> HeldOut:
    """Germans watch title 0 next, which stands first, and as many Frenchmen title 1, which stands second."""
    num = 2 * NUM_EACH
    country = np.repeat(["DE", "FR"], NUM_EACH)
    return HeldOut(
        profile_row=np.arange(num),
        history=Histories.empty(num),
        time_seconds=np.full(num, 1_700_000_000),
        country=country,
        target_offset=np.arange(num + 1),
        target_row=np.repeat([0, 1], NUM_EACH),
        profiles=table(
            PROFILES, {"profile_id": [f"p{row}" for row in range(num)], "country": country.tolist()}
        ),
    )


def said(held_out: HeldOut) -> tuple[OutputAudit, str]:
    audit = audit_output(FirstTwo(), held_out, TITLES, WATCHES, OutputSettings(k=2), "a world", "r000001")
    console = Console(width=120)
    with console.capture() as shown:
        console.print(render(audit))
    return audit, shown.get()


def test_groups_and_exposure_are_those_worked_out_by_hand() -> None:
    second = 1 / log2(3)
    audit, shown = said(asked())
    by_country = {each.dimension: each for each in audit.fairness}["country"]
    assert {group.group: group.mean for group in by_country.groups} == pytest.approx(
        {"DE": 1.0, "FR": second}
    )
    assert by_country.ratio == pytest.approx(second)
    assert audit.ndcg == pytest.approx((1 + second) / 2)
    assert audit.divergence is None  # nobody has a history
    genres = {each.group: each for each in audit.exposure["genre"]}
    assert genres["Crime"].exposure == pytest.approx(1 / (1 + second))
    assert genres["Drama"].merit == pytest.approx(0.5)
    assert "FR .6309" in shown
    assert "unknown, not fair" not in shown


def test_where_no_profile_says_who_it_is_the_audit_says_that_it_does_not_know() -> None:
    nobody = table(PROFILES, {"profile_id": [f"p{row}" for row in range(2 * NUM_EACH)]})
    for profiles in (None, nobody):
        audit, shown = said(replace(asked(), profiles=profiles))
        assert audit.fairness == ()
        assert "for whom the answers are worse is unknown, not fair" in shown


def test_no_question_is_refused() -> None:
    held_out = asked()
    none = np.zeros(0, np.int64)
    empty = HeldOut(
        none, Histories.empty(0), none, held_out.country[:0], np.zeros(1, np.int64), none, pa.table({})
    )
    with pytest.raises(QueryError, match="no question is held out"):
        said(empty)
