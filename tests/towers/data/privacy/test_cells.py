"""Every place that is told is shared by enough profiles, and no more is left out than that takes."""

from collections import defaultdict
from collections.abc import Sequence

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from towers.data.privacy.cells import coarsened, newest, often_asked

COLUMNS = ("country", "region", "postal_code")
visits = st.lists(
    st.tuples(
        st.integers(0, 14).map(str),
        st.sampled_from(["A", "B", None]),
        st.sampled_from(["x", "y", None]),
        st.sampled_from(["1", "2", None]),
    ),
    max_size=60,
)


def frame(rows: Sequence[tuple[str, str | None, str | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(("who", *COLUMNS), pl.String), orient="row")


@given(rows=visits, least=st.integers(2, 6))
@example(rows=[("0", "A", "x", "1"), ("0", None, None, "1"), ("1", None, None, "1")], least=2)
def test_whoever_is_told_a_place_shares_it_with_enough_others(
    rows: list[tuple[str, str | None, str | None, str | None]], least: int
) -> None:
    told, num_changed = coarsened(frame(rows), "who", COLUMNS, least)
    members = defaultdict(set)
    for before, after in zip(rows, told.iter_rows(), strict=True):
        assert before[0] == after[0]
        # Nothing is invented: a value stays or goes, and with it goes what is finer.
        assert all(now is None or now == was for was, now in zip(before, after, strict=True))
        members[after[1:]].add(after[0])
    assert num_changed == sum(was != now for was, now in zip(rows, told.iter_rows(), strict=True))
    told_of_nobody = (None, None, None)
    for cell, who in members.items():
        assert len(who) >= least or (cell == told_of_nobody and len(members) == 1)


def test_a_region_goes_before_its_country_and_only_where_it_must() -> None:
    rows = [(f"{n}", "US", "CA", None) for n in range(5)] + [(f"x{n}", "US", "WY", None) for n in range(2)]
    rows += [(f"g{n}", "GB", "ENG", None) for n in range(4)]
    told, num_changed = coarsened(frame(rows), "who", COLUMNS, 2)
    assert (num_changed, told.rows()) == (0, rows)
    # Two of Wyoming are too few; they alone would be those of the US without a region: so none has one.
    told, num_changed = coarsened(frame(rows), "who", COLUMNS, 3)
    assert num_changed == 7
    assert set(told.select(COLUMNS).iter_rows()) == {("US", None, None), ("GB", "ENG", None)}


def test_one_profile_of_many_events_is_one_profile() -> None:
    rows = [("a", "US", None, None)] * 9 + [("b", "GB", None, None), ("c", "GB", None, None)]
    told, _ = coarsened(frame(rows), "who", COLUMNS, 2)
    assert set(told["country"]) == {None}


def asked(*rows: tuple[str | None, str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"profile_id": pl.String, "text": pl.String, "time": pl.Int64}, orient="row"
    )


def test_a_search_is_kept_where_enough_profiles_asked_it() -> None:
    queries = asked(
        ("a", "Night  train", 1), ("b", "night train ", 2), ("c", "NIGHT TRAIN", 3),
        ("a", "my name is", 4), ("a", "my name is", 5), ("b", "my name is", 6),
        (None, "nobody", 7), (None, "nobody", 8), (None, "nobody", 9),
    )  # fmt: skip
    assert set(often_asked(queries, 3)["text"]) == {"Night  train", "night train ", "NIGHT TRAIN"}
    assert often_asked(queries, 1).equals(queries)


def test_of_a_profile_the_newest_searches_are_kept_in_their_order() -> None:
    queries = asked(
        ("a", "1", 5), ("b", "2", 1), ("a", "3", 9), ("a", "4", 5), (None, "5", 0), (None, "6", 0)
    )
    assert newest(queries, 2)["text"].to_list() == ["2", "3", "4", "5", "6"]
    assert newest(queries, None).equals(queries)
