import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.vocabulary import OOV, Vocabulary
from towers.errors import SchemaError, UnknownIdError

relaxed = settings(deadline=None, max_examples=100)
ids = st.lists(st.text(max_size=4), unique=True, max_size=20)
asked = st.lists(st.text(max_size=4), max_size=20)


@relaxed
@given(ids, asked)
def test_rows_are_the_places_of_the_ids_and_oov_elsewhere(known: list[str], wanted: list[str]) -> None:
    vocabulary = Vocabulary(known)
    wanted = wanted + known
    expected = [known.index(id_) if id_ in known else OOV for id_ in wanted]
    assert vocabulary.rows(wanted).tolist() == expected
    assert [id_ in vocabulary for id_ in wanted] == [row != OOV for row in expected]


@relaxed
@given(ids)
def test_id_and_row_undo_each_other(known: list[str]) -> None:
    vocabulary = Vocabulary(known)
    assert len(vocabulary) == len(known)
    assert [vocabulary.id(vocabulary.row(id_)) for id_ in known] == known
    assert vocabulary.ids == tuple(known)


@relaxed
@given(ids, asked)
def test_growing_keeps_every_row_and_appends_new_ids_in_order(known: list[str], new: list[str]) -> None:
    grown = Vocabulary(known).grown(new)
    unseen = [id_ for place, id_ in enumerate(new) if id_ not in known and id_ not in new[:place]]
    assert list(grown.ids) == known + unseen


@relaxed
@given(ids, asked, st.sampled_from([1, 40]))
def test_a_column_has_the_rows_of_its_values_however_long_it_is(
    known: list[str], wanted: list[str], times: int
) -> None:
    vocabulary = Vocabulary(known + [f"another id {row}" for row in range(100)])
    column = pa.array([*wanted, None, *known] * times, pa.large_string())
    expected = [*vocabulary.rows(wanted).tolist(), OOV, *range(len(known))] * times
    assert vocabulary.rows_of(column).tolist() == expected


def test_a_repeated_id_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="id 'b' appears more than once"):
        Vocabulary(["a", "b", "c", "b"])


def test_an_unknown_id_is_an_error_that_reads_as_a_sentence() -> None:
    with pytest.raises(UnknownIdError) as error:
        Vocabulary(["a", "b"]).row("c")
    assert str(error.value) == "id 'c' is not in the vocabulary of 2 ids"
    assert isinstance(error.value, KeyError)


@pytest.mark.parametrize("row", [OOV, -2, 2])
def test_a_row_out_of_range_has_no_id(row: int) -> None:
    with pytest.raises(UnknownIdError, match=f"row {row} is not"):
        Vocabulary(["a", "b"]).id(row)


def test_vocabularies_are_equal_when_their_rows_are() -> None:
    assert Vocabulary("ab") == Vocabulary(["a", "b"])
    assert hash(Vocabulary("ab")) == hash(Vocabulary(["a", "b"]))
    assert Vocabulary("ab") != Vocabulary("ba")
    assert Vocabulary("ab") != ("a", "b")


def test_an_empty_vocabulary_knows_nothing() -> None:
    vocabulary = Vocabulary([])
    assert vocabulary.rows(["a"]).tolist() == [OOV]
    assert vocabulary.rows([]).tolist() == []


def test_a_column_without_repeats_is_the_vocabulary_of_its_ids_gaps_and_all() -> None:
    column = pa.chunked_array([["b", ""], ["a", ""]])
    lazy, eager = Vocabulary.of_unique(column, gap=""), Vocabulary(["b", "", "a", ""], gap="")
    assert lazy.rows(["a", "b", "", "c", None]).tolist() == eager.rows(["a", "b", "", "c", None]).tolist()
    assert (len(lazy), lazy.ids, lazy.id(2)) == (4, ("b", "", "a", ""), "a")
    assert lazy == eager


def test_what_a_vocabulary_holds_is_counted() -> None:
    ids = [f"title {number:09}" for number in range(3000)]
    made = Vocabulary(ids)
    texts, rows = sum(map(sys.getsizeof, ids)), sum(map(sys.getsizeof, range(3000)))
    tables = sys.getsizeof(tuple(ids)) + sys.getsizeof(dict.fromkeys(ids, 0))
    assert made.held_bytes == pytest.approx(texts + rows + tables, rel=0.01)
    lazy = Vocabulary.of_unique(pa.chunked_array([ids]))
    assert lazy.held_bytes < texts / 2


def test_the_ids_of_many_rows_stand_in_the_order_of_the_rows() -> None:
    ids = [f"title {number}" for number in range(300)]
    rows = np.array([299, 0, 7, 7, 150])
    for vocabulary in (Vocabulary(ids), Vocabulary.of_unique(pa.chunked_array([ids]))):
        assert vocabulary.ids_of(rows) == ("title 299", "title 0", "title 7", "title 7", "title 150")
        assert vocabulary.ids_of(rows[:0]) == ()
        with pytest.raises(IndexError):
            vocabulary.ids_of(np.array([300]))


def test_the_rows_that_ids_have_in_another_vocabulary() -> None:
    own, other = Vocabulary(["a", "", "b", "c", ""], gap=""), Vocabulary(["", "c", "a"], gap="")
    assert own.rows_in(other).tolist() == [2, OOV, OOV, 1, OOV]
    many = Vocabulary(f"id{row}" for row in range(500))
    assert many.rows_in(Vocabulary(reversed(many.ids))).tolist() == list(range(499, -1, -1))
