"""Candidates, their features and the examples made of them, against loops and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import DAY, asked, histories, watched
from towers.data.histories import Histories
from towers.data.schema import ITEMS, table
from towers.data.split import SplitKind
from towers.errors import ConfigError, QueryError, TrainingError
from towers.ladder.candidates import (
    CandidateSettings,
    CandidateSource,
    Feature,
    FeatureGroup,
    ItemFacts,
    fit_candidates,
    item_facts,
)
from towers.ladder.examples import ExampleSettings, questions_of, training_examples
from towers.ladder.facts import country_watches, labels_of, last_watches
from towers.ladder.markov import MarkovSettings
from towers.recommender import Queries

NUM_ITEMS = 6
GENRES: list[list[str | None] | None] = [["a", "b"], ["b"], ["c", None, "c"], None, [], ["a", "c"]]


def facts() -> ItemFacts:
    years = [2000, 1990, None, 2010, 2020, 1970]
    columns: dict[str, object] = {
        "item_id": [f"i{row}" for row in range(NUM_ITEMS)],
        "title": [f"Title {row}" for row in range(NUM_ITEMS)],
        "release_year": years,
        "genres": GENRES,
        "cast": [["x"], ["x", "y"], None, ["y"], [], None],
        "directors": [["y"], None, ["z"], ["y"], None, None],
    }
    return item_facts(table(ITEMS, columns))


def of_features(source: CandidateSource, queries: Queries) -> dict[tuple[int, int], dict[Feature, float]]:
    found = source.of(queries)
    return {
        (query, item): dict(zip(Feature, line, strict=True))
        for query, item, line in zip(
            found.query.tolist(), found.item_row.tolist(), found.features.tolist(), strict=True
        )
    }


@hypothesis_settings(deadline=None, max_examples=50)
@given(
    events=st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 20)), max_size=12),
    asking=st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 25)), min_size=1, max_size=5),
)
def test_the_last_watch_is_the_newest_before_the_request(
    events: list[tuple[int, int]], asking: list[tuple[int, int]]
) -> None:
    log = last_watches(histories([sorted(events, key=lambda event: event[1])]), 4)
    since = log.seconds_since(np.array([item for item, _ in asking]), np.array([at for _, at in asking]))
    for (item, at), found in zip(asking, since.tolist(), strict=True):
        before = [time for row, time in events if row == item and time < at]
        assert found == at - max(before) if before else np.isnan(found)


def test_watches_are_counted_by_country_where_both_are_known() -> None:
    train = watched([[0, 1], [0], [0, 2], [1]])
    counts = country_watches(train, 3, np.array(["SE", "SE", "FR", ""]))
    country = np.array(["SE", "FR", "", "XX"])
    query, item = np.divmod(np.arange(12), 3)
    found = counts.count(country, query, item).reshape(4, 3)
    assert found.tolist() == [[2, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]]


@hypothesis_settings(deadline=None, max_examples=50)
@given(known=st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=4))
def test_the_overlap_is_the_mean_share_of_the_history_that_bears_each_label(known: list[list[int]]) -> None:
    genres = [set(labels or []) - {None} for labels in GENRES]
    query, item = np.divmod(np.arange(len(known) * NUM_ITEMS), NUM_ITEMS)
    found = facts().genres.overlap(watched(known), query, item)
    for one, row, value in zip(query.tolist(), item.tolist(), found.tolist(), strict=True):
        shares = [
            sum(label in genres[event] for event in known[one]) / max(1, len(known[one]))
            for label in sorted(map(str, genres[row]))
        ]
        assert value == pytest.approx(sum(shares) / len(shares) if shares else 0.0)


def test_labels_of_several_columns_count_once_per_item() -> None:
    items = table(ITEMS, {"item_id": ["i"], "title": ["T"], "cast": [["x", "y"]], "directors": [["y"]]})
    labels = labels_of(items, ["cast", "directors"])
    assert labels.offset.tolist() == [0, 2]
    assert labels.num_labels == 2


# Item 1 follows 0 and is watched with it; item 5 is popular; item 4 was never watched.
TRAIN = histories(
    [
        [(0, 0), (1, DAY)],
        [(0, 2 * DAY), (1, 3 * DAY), (2, 4 * DAY)],
        [(5, 0), (3, 20 * DAY)],
        [(5, DAY)],
        [(5, 2 * DAY)],
    ]
)
COUNTRY = np.array(["SE", "FR", "SE", "SE", ""])


def test_features_are_those_worked_out_by_hand() -> None:
    settings = CandidateSettings(num_per_rung=2)
    source = fit_candidates(TRAIN, facts(), COUNTRY, settings)
    queries = replace(asked([[0]], [21 * DAY]), country=np.array(["SE"]))
    features = of_features(source, queries)
    # item-kNN and Markov list 1 and 2, popular 5 and 1, and the last seven days 3 and then popular 5.
    assert sorted(item for _, item in features) == [1, 2, 3, 5]
    one, five, three = features[0, 1], features[0, 5], features[0, 3]
    assert one[Feature.MARKOV_RECIPROCAL_RANK] == one[Feature.ITEM_KNN_RECIPROCAL_RANK] == 1.0
    assert one[Feature.ITEM_KNN_SCORE] == pytest.approx(np.log1p(2 / (2 + 10)), rel=1e-5)
    assert one[Feature.MARKOV_SCORE] == pytest.approx(np.log1p(2 / 2**0.2), rel=1e-5)
    assert one[Feature.POPULAR_RECIPROCAL_RANK] == 0.5
    assert five[Feature.POPULAR_RECIPROCAL_RANK] == 1.0
    assert five[Feature.ITEM_KNN_SCORE] == five[Feature.MARKOV_RECIPROCAL_RANK] == 0.0
    assert three[Feature.RECENT_RECIPROCAL_RANK] == 1.0
    assert five[Feature.POPULARITY] == pytest.approx(np.log(4))
    assert five[Feature.COUNTRY_POPULARITY] == pytest.approx(np.log(3))
    assert one[Feature.WATCHED_DAYS_AGO] == pytest.approx(np.log(1 + 18))
    assert one[Feature.ITEM_AGE_YEARS] == pytest.approx(1970 + 21 / 365.25 - 1990.5, abs=1e-3)
    assert np.isnan(features[0, 2][Feature.ITEM_AGE_YEARS])
    assert one[Feature.GENRE_OVERLAP] == one[Feature.RECENT_GENRE_OVERLAP] == 1.0
    assert five[Feature.GENRE_OVERLAP] == 0.5
    assert one[Feature.PEOPLE_OVERLAP] == 1.0
    assert one[Feature.HISTORY_LENGTH] == pytest.approx(np.log(2))


def test_only_the_last_five_events_speak_of_the_genres_liked_lately() -> None:
    source = fit_candidates(TRAIN, facts(), COUNTRY)
    features = of_features(source, asked([[1, 2, 2, 2, 2, 2]], [21 * DAY]))
    # Item 0 is of a and b: b in one of six events, and in none of the last five.
    assert features[0, 0][Feature.GENRE_OVERLAP] == pytest.approx(1 / 12)
    assert features[0, 0][Feature.RECENT_GENRE_OVERLAP] == 0.0


GROUPS = {
    FeatureGroup.SCORES: [
        "item_knn_score",
        "item_knn_reciprocal_rank",
        "markov_score",
        "markov_reciprocal_rank",
    ],
    FeatureGroup.POPULARITY: [
        *("popular_score", "popular_reciprocal_rank", "recent_score", "recent_reciprocal_rank"),
        *("popularity", "country_popularity"),
    ],
    FeatureGroup.TIME: ["watched_days_ago", "item_age_years"],
    FeatureGroup.CONTENT: ["genre_overlap", "recent_genre_overlap", "people_overlap"],
    FeatureGroup.HISTORY: ["history_length"],
}
"""By hand: every feature, in one group."""


@given(chosen=st.sets(st.sampled_from(FeatureGroup), min_size=1))
@hypothesis_settings(deadline=None, max_examples=31)
def test_groups_of_features_are_columns_of_the_whole_and_leave_the_candidates_alone(
    chosen: set[FeatureGroup],
) -> None:
    queries = asked([[0, 5], []], [21 * DAY, 21 * DAY])
    whole = fit_candidates(TRAIN, facts(), COUNTRY).of(queries)
    settings = CandidateSettings(features=sorted(chosen))
    part = fit_candidates(TRAIN, facts(), COUNTRY, settings).of(queries)
    names = {name for group in chosen for name in GROUPS[group]}
    assert set(settings.columns) == names
    np.testing.assert_array_equal(part.item_row, whole.item_row)
    np.testing.assert_array_equal(part.features, whole.features[:, [name in names for name in Feature]])


def test_a_ranker_without_any_feature_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"candidates\.features: none; expected some of scores, popularity"):
        CandidateSettings(features=[])


def test_what_only_fills_a_list_is_no_candidate_and_nor_is_the_history() -> None:
    source = fit_candidates(TRAIN, facts(), COUNTRY)
    found = source.of(asked([[0, 5], []], [21 * DAY, 21 * DAY]))
    assert found.item_row[found.query == 0].tolist() == [1, 2, 3]
    assert found.item_row[found.query == 1].tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("kind", SplitKind)
def test_no_answer_is_among_what_its_candidates_are_learned_from(kind: SplitKind) -> None:
    rng = np.random.default_rng(3)
    train = histories(
        [
            sorted(
                ((int(item), int(rng.integers(1000))) for item in rng.permutation(30)[:size]),
                key=lambda e: e[1],
            )
            for size in rng.integers(1, 12, 25)
        ]
    )
    settings = ExampleSettings(kind=kind, num_questions=3)
    questions = questions_of(train, np.full(25, ""), settings)
    learned = set(zip(questions.base.profile_rows().tolist(), questions.base.item_row.tolist(), strict=True))
    profile_of = {tuple(train.items_of(profile).tolist()): profile for profile in range(25)}
    for query in range(len(questions.queries)):
        known = questions.queries.history.items_of(query).tolist()
        answers = questions.target_row[questions.target_query == query].tolist()
        # The history and the answers are a run of the events of one profile, from its first on.
        owner = next(
            p
            for line, p in profile_of.items()
            if [*known, *answers] == list(line[: len(known) + len(answers)])
        )
        assert not {(owner, answer) for answer in answers} & learned
        times = train.time_seconds[train.offset[owner] : train.offset[owner + 1]]
        assert questions.queries.time_seconds[query] == times[len(known)]
    num_held = train.lengths - questions.base.lengths
    if kind is SplitKind.LEAVE_ONE_OUT:
        assert num_held.tolist() == np.minimum(3, train.lengths // 2).tolist()
    else:
        newest = np.sort(train.time_seconds)[::-1]
        assert num_held.sum() == np.sum(train.time_seconds >= newest[num_held.sum() - 1])
        assert questions.queries.time_seconds.min() > questions.base.time_seconds.max()


def test_another_answer_changes_the_labels_and_not_one_feature() -> None:
    # The last event of each profile, which is the answer, is of another item in the second log.
    rng = np.random.default_rng(5)
    lists = [rng.permutation(NUM_ITEMS)[:4].tolist() for _ in range(30)]
    others = [[*items[:3], next(row for row in range(NUM_ITEMS) if row not in items)] for items in lists]
    first, second = (
        training_examples(
            watched(part), facts(), np.full(30, "SE"), CandidateSettings(), ExampleSettings(num_questions=1)
        )
        for part in (lists, others)
    )

    def lines(features: np.ndarray) -> list[str]:
        # As text, in which NaN equals itself.
        return sorted(str(line) for line in features.tolist())

    assert len(first.num_of_question) == len(second.num_of_question) == 30
    assert lines(first.features) == lines(second.features)
    assert lines(first.features[first.watched]) != lines(second.features[second.watched])


def test_each_question_keeps_its_answers_and_so_many_others() -> None:
    rng = np.random.default_rng(6)
    train = watched([rng.permutation(NUM_ITEMS)[:4].tolist() for _ in range(40)])
    settings = ExampleSettings(num_questions=2, num_negatives=1)
    examples = training_examples(train, facts(), np.full(40, ""), CandidateSettings(), settings)
    assert examples.num_of_question.sum() == len(examples.watched) == len(examples.features)
    question = np.repeat(np.arange(len(examples.num_of_question)), examples.num_of_question)
    assert np.bincount(question, examples.watched).tolist() == [1.0] * len(examples.num_of_question)
    assert set(np.bincount(question, ~examples.watched).tolist()) <= {0.0, 1.0}


def test_no_more_questions_are_asked_than_wanted_and_the_draw_has_a_seed() -> None:
    train = watched([[0, 1, 2, 3]] * 20)
    settings = ExampleSettings(max_questions=7)
    first, again, other = (
        questions_of(train, np.full(20, ""), replace(settings, seed=seed)).queries.history.lengths.tolist()
        for seed in (0, 0, 1)
    )
    assert len(first) == 7
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    "train", [watched([]), watched([[1]]), watched([[0, 1]])], ids=["none", "one", "unreached"]
)
def test_a_log_that_teaches_nothing_is_refused(train: Histories) -> None:
    with pytest.raises(TrainingError, match="expected profiles with two events or more"):
        training_examples(train, facts(), np.full(len(train), ""), CandidateSettings(), ExampleSettings())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(QueryError, match="1 countries for 5 profiles"):
        fit_candidates(TRAIN, facts(), np.array(["SE"]))
    with pytest.raises(ConfigError, match=r"candidates\.markov\.window"):
        fit_candidates(TRAIN, facts(), COUNTRY, CandidateSettings(markov=MarkovSettings(window=0)))
    with pytest.raises(ConfigError, match=r"examples\.num_negatives"):
        training_examples(TRAIN, facts(), COUNTRY, CandidateSettings(), ExampleSettings(num_negatives=0))
