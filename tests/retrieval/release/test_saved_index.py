"""The questions that an index is laid out for and judged by."""

import numpy as np

from retrieval.release.saved_index import build_queries, gate_queries, new_queries
from tests.worlds import DAY_SECONDS, log_tables
from towers.data.dataset import Dataset, dataset_from_tables
from towers.recommender import Queries


def service(num_profiles: int = 40) -> Dataset:
    """Profile p watches p % 6 titles, on days p, p + 1 and so on."""
    events = [(p, n, (p + n) * DAY_SECONDS) for p in range(num_profiles) for n in range(p % 6)]
    return dataset_from_tables(log_tables(events, num_items=6, num_profiles=num_profiles))


def ids_of(queries: Queries) -> list[str]:
    assert queries.profiles is not None
    ids: list[str] = queries.profiles["profile_id"].to_pylist()
    return ids


def test_a_profile_that_is_as_if_new_has_its_first_events_and_asks_when_it_asks() -> None:
    dataset = service()
    asked, new = gate_queries(dataset, 100), new_queries(dataset, 100)
    np.testing.assert_array_equal(new.time_seconds, asked.time_seconds)
    np.testing.assert_array_equal(new.history.lengths, np.minimum(asked.history.lengths, 3))
    for line in range(len(asked)):
        whole, few = asked.select(np.array([line])).history, new.select(np.array([line])).history
        num = len(few.item_row)
        np.testing.assert_array_equal(few.item_row, whole.item_row[:num])
        assert few.time_seconds[-1] == asked.time_seconds[line]
        np.testing.assert_array_equal(np.diff(few.time_seconds), np.diff(whole.time_seconds[:num]))


def test_an_index_is_laid_out_for_other_profiles_some_of_them_new() -> None:
    dataset = service(240)
    judged, laid_out = gate_queries(dataset, 40), build_queries(dataset, 40)
    assert len(judged) == 40
    assert not set(ids_of(judged)) & set(ids_of(laid_out))
    lengths = np.array([int(each[1:]) % 6 for each in ids_of(laid_out)])
    assert len(lengths) == 200 - 40  # of six profiles one has watched nothing
    cut = laid_out.history.lengths < lengths
    assert cut.any()
    assert set(np.flatnonzero(cut) % 4) == {3}
    np.testing.assert_array_equal(laid_out.history.lengths[cut], 3)
