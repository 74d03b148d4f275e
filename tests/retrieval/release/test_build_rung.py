"""Any rung becomes a release: iALS by its vectors, all others by lists made beforehand."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index.spec import IndexSpec
from retrieval.lists import ListAnswers, RankedLists, load_lists, sound
from retrieval.profiles import read_profiles
from retrieval.release.build_rung import Learned, ListSettings, release_rung, told_apart
from retrieval.release.gates import GateSettings
from retrieval.release.manifest import AnswerKind
from retrieval.release.store import ReleaseInfo, open_release
from retrieval.retriever import Retriever
from tests.worlds import block_of, block_world
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError, GateError, IntegrityError, ReleaseError
from towers.ladder.country import CountrySettings, fit_country_popular
from towers.ladder.factorisation import IALSSettings, fit_ials
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.ladder.markov import fit_markov
from towers.recommender import PAD, Degraded, Queries, Rankings, Recommender

NUM_BLOCKS, NUM_ITEMS = 3, 60


@dataclass(frozen=True)
class World:
    """Three tastes of twenty titles, and what a rung of it was fitted on."""

    dataset: Dataset
    learned: Learned

    @property
    def train(self):  # type: ignore[no-untyped-def]
        return split(self.dataset, SplitSettings()).train

    def ids(self, rows: np.ndarray) -> list[str]:
        """Item ids of the rows that are no padding."""
        return [self.dataset.catalogue.ids[row] for row in rows.tolist() if row != PAD]


def make_world(dataset: Dataset) -> World:
    parts = split(dataset, SplitSettings())
    return World(dataset, Learned(dataset, parts.num_watches, {"title": "blocks", "seed": 0}))


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(dataset_from_tables(block_world(NUM_BLOCKS, 20, 8, 6, seed=0, cold_items_per_block=2)))


def publish(rung: Recommender, world: World, root: Path, *, length: int = 40) -> ReleaseInfo:
    return release_rung(rung, world.learned, root, IndexSpec(), ListSettings(length), GateSettings(k=10))


def now(world: World) -> Queries:
    """All profiles, asked at the moment of the newest event, which is when lists are made."""
    dataset = world.dataset
    newest = int(dataset.history.time_seconds.max())
    times = np.full(len(dataset.history), newest)
    return Queries(dataset.history, times, dataset.country, dataset.profile_table)


@pytest.mark.parametrize(
    ("fit", "kind"),
    [
        (lambda world: fit_markov(world.train, NUM_ITEMS), AnswerKind.LISTS),
        (lambda world: fit_popular(world.train, NUM_ITEMS, PopularSettings(days=2.0)), AnswerKind.LISTS),
        (lambda world: fit_ials(world.train, NUM_ITEMS, IALSSettings(num_factors=8)), AnswerKind.FACTORS),
    ],
    ids=["markov", "popular_recent", "ials"],
)
def test_every_profile_is_answered_as_the_rung_answers_it(
    world: World, tmp_path: Path, fit: Callable[[World], Recommender], kind: AnswerKind
) -> None:
    rung = fit(world)
    info = publish(rung, world, tmp_path)
    assert open_release(tmp_path).manifest.description.kind is kind
    retriever = Retriever.open(tmp_path)
    assert retriever.context["title"] == "blocks"
    asked = now(world)
    expected = rung.rank(asked, 12)
    served = retriever.rank(asked, 12)
    assert served.degraded == ()
    np.testing.assert_array_equal(served.item_row, expected.item_row)
    np.testing.assert_allclose(served.score, expected.score, rtol=1e-6)
    for line, profile_id in enumerate(world.dataset.profiles.ids):
        answer = retriever.recommend(profile_id, k=12, time_seconds=int(asked.time_seconds[0]))
        assert answer.degraded is None
        assert answer.release_id == info.release_id
        assert list(answer.item_id) == world.ids(expected.item_row[line])


def test_an_answer_longer_than_its_list_goes_on_by_popularity_and_is_never_short(
    world: World, tmp_path: Path
) -> None:
    publish(fit_markov(world.train, NUM_ITEMS), world, tmp_path, length=5)
    retriever = Retriever.open(tmp_path)
    watched = retriever.history("p4")
    answer = retriever.recommend("p4", k=NUM_ITEMS)
    assert set(answer.item_id) == set(world.dataset.catalogue.ids) - set(watched)
    assert len(set(answer.item_id)) == len(answer) == NUM_ITEMS - len(watched)
    assert (np.diff(answer.score) <= 0.0).all()
    counts = dict(zip(world.dataset.catalogue.ids, world.learned.num_events.tolist(), strict=True))
    rest = [counts[item_id] for item_id in answer.item_id[5:]]
    assert rest == sorted(rest, reverse=True)


def test_a_new_history_is_answered_from_the_lists_of_its_titles_and_says_so(
    world: World, tmp_path: Path
) -> None:
    publish(fit_markov(world.train, NUM_ITEMS), world, tmp_path, length=6)
    retriever = Retriever.open(tmp_path)
    for block in range(NUM_BLOCKS):
        # Three titles of one taste that no profile watched alone.
        rows = block + NUM_BLOCKS * np.array([0, 5, 9])
        answer = retriever.recommend(history=world.ids(rows), k=4)
        assert answer.degraded is Degraded.NOT_PRECOMPUTED
        found = np.array([world.dataset.catalogue.row(item_id) for item_id in answer.item_id])
        assert (block_of(found, NUM_BLOCKS) == block).all()
        assert not set(found.tolist()) & set(rows.tolist())


def test_a_stored_history_given_anew_gets_its_list_and_one_more_title_does_not(
    world: World, tmp_path: Path
) -> None:
    publish(fit_markov(world.train, NUM_ITEMS), world, tmp_path)
    retriever = Retriever.open(tmp_path)
    stored = retriever.history("p5")
    same = retriever.recommend(history=stored, country="GB", k=6)
    assert same.degraded is None
    assert same.item_id == retriever.recommend("p5", k=6).item_id
    watched_more = retriever.recommend(history=[*stored, same.item_id[0]], country="GB", k=6)
    assert watched_more.degraded is Degraded.NOT_PRECOMPUTED
    assert same.item_id[0] not in watched_more.item_id
    # The order in which titles were watched is part of the history.
    assert retriever.recommend(history=stored[::-1], country="GB", k=6).degraded is Degraded.NOT_PRECOMPUTED


def test_newcomers_get_the_list_of_their_country_and_strangers_popularity(tmp_path: Path) -> None:
    tables = block_world(NUM_BLOCKS, 20, 8, 6, seed=0)
    # Taste 0 lives in one country and all others in another, where nobody watches its titles.
    country = ["SE" if row % NUM_BLOCKS == 0 else "GB" for row in range(tables.profiles.num_rows)]
    profiles = tables.profiles.set_column(
        tables.profiles.schema.get_field_index("country"),
        tables.profiles.schema.field("country"),
        [pa.array(country, tables.profiles.schema.field("country").type)],
    )
    world = make_world(dataset_from_tables(replace(tables, profiles=profiles)))
    rung = fit_country_popular(world.train, NUM_ITEMS, world.dataset.country, CountrySettings(1.0))
    publish(rung, world, tmp_path)
    retriever = Retriever.open(tmp_path)
    newcomer = retriever.recommend(history=[], country="SE", k=5)
    assert newcomer.degraded is Degraded.EMPTY_HISTORY
    rows = np.array([world.dataset.catalogue.row(item_id) for item_id in newcomer.item_id])
    assert (block_of(rows, NUM_BLOCKS) == 0).all()
    assert retriever.recommend(history=[], country="FR", k=5).item_id != newcomer.item_id
    stranger = retriever.recommend("nobody", k=5)
    assert stranger.degraded is Degraded.UNKNOWN_PROFILE
    assert stranger.score.tolist() == sorted(world.learned.num_events.tolist(), reverse=True)[:5]
    # A profile of Sweden that asks from Britain: no list was made for that.
    assert retriever.recommend("p0", k=5).degraded is None
    assert retriever.recommend("p0", country="GB", k=5).degraded is Degraded.NOT_PRECOMPUTED


def test_similar_titles_are_what_the_rung_answers_to_that_title_alone(world: World, tmp_path: Path) -> None:
    rung = fit_markov(world.train, NUM_ITEMS)
    publish(rung, world, tmp_path)
    retriever = Retriever.open(tmp_path)
    answer = retriever.similar("i7", k=5)
    assert "i7" not in answer.item_id
    rows = np.array([world.dataset.catalogue.row(item_id) for item_id in answer.item_id])
    assert (block_of(rows, NUM_BLOCKS) == 7 % NUM_BLOCKS).all()


def test_matches_of_a_search_stand_in_the_order_of_the_profiles_list(world: World, tmp_path: Path) -> None:
    publish(fit_markov(world.train, NUM_ITEMS), world, tmp_path)
    retriever = Retriever.open(tmp_path)
    # p1 watches block 1: of all that match "Title" equally well its titles come first.
    answer = retriever.search("block", profile_id="p1", k=5)
    unwatched = [item_id for item_id in answer.item_id if item_id not in retriever.history("p1")]
    rows = np.array([world.dataset.catalogue.row(item_id) for item_id in unwatched])
    assert (block_of(rows, NUM_BLOCKS) == 1).all()
    assert answer.degraded is None


class ByPlan:
    """A rung that reads a column of profiles: it turns the catalogue round for one plan."""

    def rank(self, queries: Queries, k: int) -> Rankings:
        known = queries.profiles
        bands = [None] * len(queries) if known is None else known["age_band"].to_pylist()
        rows = np.full((len(queries), k), PAD, np.int64)
        for line, band in enumerate(bands):
            order = np.arange(NUM_ITEMS)[:: -1 if band == "18-24" else 1]
            order = order[~np.isin(order, queries.history.items_of(line))][:k]
            rows[line, : len(order)] = order
        score = np.where(rows == PAD, -np.inf, -np.arange(k, dtype=np.float32)).astype(np.float32)
        return Rankings(rows, score)


def test_profiles_of_one_history_that_differ_otherwise_get_lists_of_their_own(
    world: World, tmp_path: Path
) -> None:
    dataset = world.dataset
    twins = dataset.history.select(np.zeros(2, np.int64))
    table = dataset.profile_table.slice(0, 2)
    bands = pa.array(["18-24", "25-34"], table.schema.field("age_band").type)
    table = table.set_column(
        table.schema.get_field_index("age_band"), table.schema.field("age_band"), [bands]
    )
    two = replace(
        dataset,
        history=twins,
        country=dataset.country[:2],
        profile_table=table,
        profiles=type(dataset.profiles)(["p0", "p1"]),
    )
    learned = replace(world.learned, dataset=two, profile_columns=("age_band",))
    publish(ByPlan(), replace(world, learned=learned), tmp_path)
    retriever = Retriever.open(tmp_path)
    first, second = (retriever.recommend(profile_id, k=3) for profile_id in ("p0", "p1"))
    assert first.degraded is second.degraded is None
    rows = [[dataset.catalogue.row(item_id) for item_id in answer.item_id] for answer in (first, second)]
    assert min(rows[0]) > NUM_ITEMS // 2 > max(rows[1])


def test_folded_in_queries_weigh_events_as_the_rung_does(world: World, tmp_path: Path) -> None:
    history = world.dataset.history
    weight = np.random.default_rng(0).uniform(0.1, 5.0, history.num_events).astype(np.float32)
    dataset = replace(world.dataset, history=replace(history, weight=weight))
    weighted = make_world(dataset)
    rung = fit_ials(weighted.train, NUM_ITEMS, IALSSettings(num_factors=8))
    publish(rung, weighted, tmp_path)
    retriever = Retriever.open(tmp_path)
    asked = now(weighted)
    expected = rung.rank(asked, 10)
    for line, profile_id in enumerate(dataset.profiles.ids):
        assert list(retriever.recommend(profile_id, k=10).item_id) == weighted.ids(expected.item_row[line])


class Restless:
    """A rung that never answers twice alike."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def rank(self, queries: Queries, k: int) -> Rankings:
        rows = np.stack([self._rng.permutation(NUM_ITEMS)[:k] for _ in range(len(queries))])
        return Rankings(rows, np.tile(-np.arange(k, dtype=np.float32), (len(queries), 1)))


class Twice:
    """A rung that names one title in every place."""

    def rank(self, queries: Queries, k: int) -> Rankings:
        rows = np.full((len(queries), k), 3)
        return Rankings(rows, np.zeros((len(queries), k), np.float32))


@pytest.mark.parametrize(
    ("rung", "failed"),
    [(Restless(), "FAILED rung_overlap: 0."), (Twice(), "FAILED sound_lists: 86, expected == 0")],
)
def test_a_rung_that_cannot_be_served_as_it_answers_is_refused(
    world: World, tmp_path: Path, rung: Recommender, failed: str
) -> None:
    with pytest.raises(GateError, match=failed):
        publish(rung, world, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


@pytest.mark.parametrize("kind", [AnswerKind.LISTS, AnswerKind.FACTORS])
def test_any_changed_file_is_named_before_it_is_parsed(
    world: World, tmp_path: Path, kind: AnswerKind
) -> None:
    rung = (
        fit_popular(world.train, NUM_ITEMS)
        if kind is AnswerKind.LISTS
        else fit_ials(world.train, NUM_ITEMS, IALSSettings(num_factors=4))
    )
    folder = publish(rung, world, tmp_path).folder
    names = {path.name for path in folder.iterdir()}
    assert {"lists.safetensors", "factors.json"} & names
    for name in sorted(names):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(np.random.default_rng(0).bytes(len(content)))
        with pytest.raises(IntegrityError, match=name):
            Retriever.open(tmp_path)
        (folder / name).write_bytes(content)
    Retriever.open(tmp_path)


def test_a_list_of_no_length_is_refused_by_its_key(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lists\.length: 0"):
        publish(fit_popular(world.train, NUM_ITEMS), world, tmp_path, length=0)


@given(
    lists=st.lists(
        st.lists(
            st.tuples(st.integers(-1, 4), st.sampled_from([0.0, 1.0, 2.0, float("nan"), float("inf")])),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_list_is_sound_by_the_definition(lists: list[list[tuple[int, float]]]) -> None:
    rows = np.array([[item for item, _ in line] for line in lists], np.int32)
    score = np.array([[value for _, value in line] for line in lists], np.float32)
    found = sound(RankedLists(rows, score, np.zeros(5, np.int64)))
    for line, said in zip(lists, found.tolist(), strict=True):
        items = [item for item, _ in line]
        filled = [(item, value) for item, value in line if item != PAD]
        values = [value for _, value in filled]
        expected = (
            items == [item for item, _ in filled] + [PAD] * (3 - len(filled))
            and len({item for item, _ in filled}) == len(filled)
            and all(np.isfinite(values))
            and values == sorted(values, reverse=True)
        )
        assert said == expected


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[:-1], r"85 lists of item rows from -1 to \d+; expected 86 for 24 profiles"),
        (lambda rows: np.where(rows == 3, 60, rows), "from -1 to 60; expected 86"),
        (lambda rows: np.where(rows == 3, -7, rows), r"from -7 to \d+; expected 86"),
    ],
)
def test_lists_of_another_catalogue_are_refused(
    world: World, tmp_path: Path, spoil: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    folder = publish(fit_markov(world.train, NUM_ITEMS), world, tmp_path).folder
    lists = load_lists(folder)
    rows = spoil(lists.item_row).astype(np.int32)
    profiles = read_profiles(folder / "profiles.parquet", world.dataset.catalogue)
    with pytest.raises(ReleaseError, match=message):
        ListAnswers(RankedLists(rows, lists.score[: len(rows)], lists.num_events), profiles)


def test_the_manifest_says_how_it_answers(world: World, tmp_path: Path) -> None:
    folder = publish(fit_popular(world.train, NUM_ITEMS), world, tmp_path).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["kind"], manifest["index"], manifest["dimension"]) == ("lists", None, None)
    named = {gate["name"] for gate in manifest["gates"]}
    assert {"unique_ids", "list_counts", "sound_lists", "rung_overlap", "latency_ms"} <= named
    assert not any(name.startswith("recall") for name in named)


@given(data=st.data())
def test_the_end_of_a_list_that_a_newcomer_sees_too_is_told_apart(data: st.DataObject) -> None:
    num_items, length = 7, 4
    newcomer = data.draw(st.permutations(range(num_items)))[: length + 1]
    lists = []
    for title in range(num_items):
        others = [item for item in data.draw(st.permutations(range(num_items))) if item != title]
        head = others[: data.draw(st.integers(0, length))]
        rest = [item for item in newcomer if item not in (*head, title)]
        lists.append((head + rest)[:length] if data.draw(st.booleans()) else others[:length])
    padded = np.array([line + [PAD] * (length - len(line)) for line in lists], np.int32)
    own = told_apart(padded, np.array(newcomer), num_items)
    for title, (line, said) in enumerate(zip(lists, own.tolist(), strict=True)):
        # The shortest head after which the list is a newcomer's without what stands before it.
        start = min(
            place
            for place in range(len(line) + 1)
            if line[place:]
            == [item for item in newcomer if item not in (*line[:place], title)][: len(line) - place]
        )
        assert said == [place < start for place in range(length)]
