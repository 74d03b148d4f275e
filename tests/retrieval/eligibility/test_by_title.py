"""The definition of rules that releases are checked against says what that of the tests says."""

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from retrieval.eligibility import by_title
from tests.retrieval.eligibility.oracle import ITEM, RULES, Recipe, made, passes
from tests.retrieval.worlds import items_table


@given(st.lists(ITEM, min_size=1, max_size=6), st.lists(RULES, min_size=1, max_size=4))
def test_a_title_passes_by_the_definition(kinds: list[dict[str, Any]], recipes: list[Recipe]) -> None:
    items: pa.Table = items_table(len(kinds), **{name: [one[name] for one in kinds] for name in kinds[0]})
    for title in items.to_pylist():
        for rule in map(made, recipes):
            assert by_title.passes(title, rule) == passes(title, rule)
