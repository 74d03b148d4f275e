"""Times by stage: of the thread that asks, and of nobody else."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import pytest

from retrieval.retriever import Retriever
from retrieval.stages import Stage, stage, timed
from tests.retrieval.worlds import release


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever(release(np.eye(6, dtype=np.float32), profiles={"ann": [0, 2], "bob": []}))


def test_every_stage_of_an_answer_has_a_time_and_together_no_more_than_the_answer(
    retriever: Retriever,
) -> None:
    with timed() as times:
        begun = perf_counter()
        for _ in range(20):
            retriever.recommend("ann", k=3)
        took = perf_counter() - begun
    assert set(times.seconds) == set(Stage)
    assert all(seconds > 0 for seconds in times.seconds.values())
    assert times.total_seconds <= took


def test_what_popularity_answers_encodes_and_searches_nothing(retriever: Retriever) -> None:
    with timed() as times:
        retriever.recommend("nobody", k=3)
    assert times.seconds[Stage.ENCODE] == times.seconds[Stage.SEARCH] == 0.0
    assert times.seconds[Stage.FILTER] > 0.0


def test_no_time_is_taken_outside_or_in_another_thread(retriever: Retriever) -> None:
    with timed() as times, ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(retriever.recommend, "ann", k=3).result()) == 3
    retriever.recommend("ann", k=3)
    assert times.total_seconds == 0.0


def test_the_inner_of_two_has_the_times_and_the_outer_goes_on_after_it(retriever: Retriever) -> None:
    with timed() as outer:
        with timed() as inner:
            retriever.recommend("ann", k=3)
        assert outer.total_seconds == 0.0
        retriever.recommend("ann", k=3)
    assert inner.total_seconds > 0.0
    assert outer.total_seconds > 0.0


def test_a_stage_that_fails_has_its_time_and_its_error() -> None:
    with timed() as times, pytest.raises(ValueError, match="planted"), stage(Stage.SEARCH):
        raise ValueError("planted")
    assert times.seconds[Stage.SEARCH] > 0.0
