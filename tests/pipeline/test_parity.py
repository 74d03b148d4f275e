"""What is served is what was trained: the same vectors, over 10,000 profiles, with features of every kind.

Training reads tables, windows and packed batches; serving reads the files of a release. They share the
declaration of the features and the fitted encoders, and nothing that is computed from them.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from retrieval import Retriever
from retrieval.encoder import embed_catalogue
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.read import Release, read_parts, read_release
from retrieval.release.store import open_release
from retrieval.vectors import VectorAnswers
from tests.worlds import DAY_SECONDS, SIGNALS, START_SECONDS, write_tables
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import Feature, FeatureKind, FeatureSettings, RowRule
from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, TIME, Tables, table
from towers.data.split import Split, SplitSettings, split
from towers.data.windows import TrainingWindows
from towers.errors import IntegrityError
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.recommender import Queries
from towers.training.export import export

NUM_PROFILES, NUM_ITEMS, MAX_HISTORY = 10_000, 300, 40
TOLERANCE = 1e-6

ONE, MANY, NUMBER = FeatureKind.CATEGORICAL, FeatureKind.MULTI, FeatureKind.NUMERIC
CUT, HASHED = RowRule.FREQUENCY_CUT, RowRule.HASHING
FEATURES = FeatureSettings(
    items=[
        Feature("id", ONE, "item_id", CUT, min_count=2, buckets=16),
        Feature("genres", MANY, "genres"),
        Feature("cast", MANY, "cast", CUT, min_count=3, buckets=20, first=3, dimension=8),
        Feature("directors", MANY, "directors", HASHED, buckets=11),
        Feature("language", ONE, "language", min_count=2),
        Feature("studio", ONE, "attributes.studio", dimension=4),
        Feature("year", NUMBER, "release_year"),
        Feature("budget", NUMBER, "attributes.budget"),
    ],
    profiles=[
        Feature("country", ONE, "country"),
        Feature("language", ONE, "language"),
        Feature("age", ONE, "age_band"),
        Feature("kids", ONE, "kids"),
        Feature("area", ONE, "postal_code", CUT, min_count=20, buckets=64, dimension=8),
        Feature("plan", ONE, "attributes.plan", HASHED, buckets=5),
        Feature("since", NUMBER, "attributes.since"),
    ],
)


def attributes(rng: np.random.Generator, num_rows: int, **pools: list[str | None]) -> list[object]:
    """Of every name a random value of its pool, in random order; in one row of ten none at all."""
    rows: list[object] = []
    for _ in range(num_rows):
        pairs = [{"name": name, "value": pool[rng.integers(len(pool))]} for name, pool in pools.items()]
        rng.shuffle(pairs)
        rows.append(None if rng.random() < 0.1 else pairs)
    return rows


def some(rng: np.random.Generator, pool: list[str | None], num_rows: int) -> list[str | None]:
    return [pool[place] for place in rng.integers(len(pool), size=num_rows)]


def lists(rng: np.random.Generator, pool: list[str], num_rows: int) -> list[list[str] | None]:
    return [None if rng.random() < 0.1 else some(rng, [*pool], int(rng.integers(5))) for _ in range(num_rows)]  # type: ignore[misc]


def world() -> Tables:
    """A random service with unknown, empty and rare values everywhere; the newest titles have no watch."""
    rng = np.random.default_rng(0)
    profile_id = [f"profile {row}" for row in range(NUM_PROFILES)]
    length = rng.integers(3, 13, NUM_PROFILES)
    length[:20] = 60  # longer than what is read of a history
    who = np.repeat(np.arange(NUM_PROFILES), length)
    what = np.concatenate([rng.permutation(NUM_ITEMS - 10)[:num] for num in length])
    start_ms = 1000 * (START_SECONDS + rng.integers(0, 300 * DAY_SECONDS, len(who)))
    minutes = rng.uniform(10.0, 120.0, len(who)).astype(np.float32)
    languages = ["en", "fr", "de", "한국어", "", None]
    areas = [f"area {int(number)}" for number in rng.exponential(60.0, 400)]
    return Tables(
        items=table(
            ITEMS,
            {
                "item_id": [f"title {row}" for row in range(NUM_ITEMS)],
                "title": [f"Title {row}" for row in range(NUM_ITEMS)],
                "genres": lists(rng, ["Drama", "War", "Noir", "Comédie"], NUM_ITEMS),
                "cast": lists(rng, [f"Actor {row}" for row in range(150)], NUM_ITEMS),
                "directors": lists(rng, [f"Director {row}" for row in range(80)], NUM_ITEMS),
                "language": some(rng, languages, NUM_ITEMS),
                "release_year": rng.integers(1950, 2023, NUM_ITEMS).tolist(),
                "attributes": attributes(
                    rng, NUM_ITEMS, studio=["A", "B", None], budget=["1e6", "250", None]
                ),
            },
        ),
        events=table(
            EVENTS,
            {
                "profile_id": pa.array(profile_id).take(who),
                "item_id": pa.array([f"title {row}" for row in what.tolist()]),
                "start": pa.array(start_ms, TIME),
                "minutes_watched": pa.array(minutes, mask=rng.random(len(who)) < 0.2),
            },
        ),
        profiles=table(
            PROFILES,
            {
                "profile_id": profile_id,
                "country": some(rng, ["GB", "KR", "BR", None], NUM_PROFILES),
                "language": some(rng, languages, NUM_PROFILES),
                "age_band": some(rng, ["18-24", "25-34", None], NUM_PROFILES),
                "kids": [bool(one) if one >= 0 else None for one in rng.integers(-1, 2, NUM_PROFILES)],
                "postal_code": some(rng, [*areas, None], NUM_PROFILES),
                "gender": some(rng, ["f", "m"], NUM_PROFILES),
                "attributes": attributes(
                    rng, NUM_PROFILES, plan=["basic", "gold", ""], since=["2001", "2020.5"]
                ),
            },
        ),
        queries=table(QUERIES, {}),
    )


class Service:
    """A world, untrained towers over it whose every weight counts, and the release made of their files."""

    def __init__(self, folder: Path) -> None:
        tables = world()
        write_tables(tables, folder / "tables")
        self.dataset: Dataset = dataset_from_tables(tables)
        self.split: Split = split(self.dataset, SplitSettings())
        torch.manual_seed(0)
        encoder = fit_features(*training_rows(self.dataset, self.split), FEATURES)
        self.towers = TwoTower(ModelSettings(dim=16, num_layers=1, max_history=MAX_HISTORY), encoder).eval()
        for weight in self.towers.parameters():
            nn.init.normal_(weight, std=0.3)
        context = {"split": asdict(SplitSettings()), "signals": SIGNALS}
        export(self.towers, self.dataset, self.split, folder / "model", context=context)
        build_release(
            folder / "model", folder / "tables", folder / "releases", IndexSpec(), GateSettings(k=10)
        )
        self.releases = folder / "releases"
        self.release: Release = read_release(self.releases)
        assert isinstance(self.release.answers, VectorAnswers)
        self.answers = self.release.answers
        self.item = torch.from_numpy(self.towers.embed(encoder.encode(self.dataset.items)))

    def served(self, num_hidden: int) -> np.ndarray:
        """Vectors of all profiles by the release, at their last event but so many, which they do not see."""
        profiles = self.release.profiles
        assert profiles.profiles.ids == self.dataset.profiles.ids
        history = profiles.history
        asked = history.time_seconds[history.offset[1:] - num_hidden]
        seen = history.first(history.lengths - num_hidden)
        return self.answers.encoder.encode(Queries(seen, asked, profiles.country, profiles.features))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("parity"))


def test_the_vectors_of_titles_are_those_of_training(service: Service) -> None:
    release = service.release
    np.testing.assert_allclose(service.answers.vectors, service.item.numpy(), rtol=0, atol=TOLERANCE)
    folder = service.releases / release.release_id
    again = embed_catalogue(folder, pq.read_table(folder / "items.parquet").cast(ITEMS))
    np.testing.assert_allclose(again, service.item.numpy(), rtol=0, atol=TOLERANCE)


def test_a_training_position_is_what_is_served_at_that_moment(service: Service) -> None:
    dataset, towers = service.dataset, service.towers
    profiles = towers.encoder.encode_profiles(dataset.profile_table, dataset.country)
    windows = TrainingWindows(dataset.history, dataset.history.lengths, profiles, MAX_HISTORY)
    cut = windows.cut(0, NUM_PROFILES, np.random.default_rng(0))
    profile, start, _ = cut
    whole = np.flatnonzero(start == dataset.history.offset[profile])  # later windows see less than is served
    whole = whole[dataset.history.lengths[profile[whole]] <= MAX_HISTORY]
    sizes = [len(part) for part in np.array_split(whole, 20)]
    trained = np.empty((len(whole), 16), np.float32)
    with torch.inference_mode():
        place = 0
        for batch in windows.read(cut[:, whole], sizes):
            every = towers(batch, service.item)
            last = (batch.num_shown + 1).cumsum(0) - 1
            trained[place : place + len(batch)] = every[last].numpy()
            place += len(batch)
    assert len(whole) == NUM_PROFILES - 20
    np.testing.assert_allclose(service.served(1)[profile[whole]], trained, rtol=0, atol=TOLERANCE)


def test_a_validation_question_is_what_is_served_at_that_moment(service: Service) -> None:
    asked = service.split.validation
    queries = Queries(asked.history, asked.time_seconds, asked.country, asked.profiles)
    validated = service.towers.encode(queries, service.item)
    assert len(validated) == NUM_PROFILES
    np.testing.assert_allclose(service.served(2)[asked.profile_row], validated, rtol=0, atol=TOLERANCE)


def test_every_feature_of_a_profile_reaches_its_vector(service: Service) -> None:
    profiles, encoder = service.release.profiles, service.answers.encoder
    assert profiles.features is not None
    declared = [feature.column for feature in FEATURES.profiles if feature.name != "country"]
    assert profiles.features.column_names == declared
    some_rows = np.arange(400)
    history, known = profiles.history.select(some_rows), profiles.features.take(some_rows)
    asked, country = history.time_seconds[history.offset[1:] - 1], profiles.country[some_rows]
    vectors = encoder.encode(Queries(history, asked, country, known))
    for place, column in enumerate(declared):
        mixed = known.set_column(place, column, known[column].take(some_rows[::-1]))
        other = encoder.encode(Queries(history, asked, country, mixed))
        assert np.abs(other - vectors).max() > 1e-3, column


def test_a_profile_that_asks_is_answered_by_that_vector(service: Service) -> None:
    retriever = Retriever.open(service.releases)
    history = service.dataset.history
    sample = np.arange(0, NUM_PROFILES, 500)
    asked = history.time_seconds[history.offset[sample + 1] - 1]
    for country in (None, "BR"):
        countries = service.dataset.country[sample] if country is None else np.full(len(sample), country)
        known = service.dataset.profile_table.take(sample)
        queries = Queries(history.select(sample), asked, countries, known)
        score = service.towers.encode(queries, service.item) @ service.item.numpy().T
        for line, profile in enumerate(sample.tolist()):
            ranking = retriever.recommend(service.dataset.profiles.id(profile), country=country, k=NUM_ITEMS)
            row = service.dataset.catalogue.rows(ranking.item_id)
            assert len(row) == NUM_ITEMS - history.lengths[profile]
            np.testing.assert_allclose(ranking.score, score[line, row], rtol=0, atol=TOLERANCE)


def test_a_release_holds_no_column_of_profiles_that_is_not_declared(service: Service) -> None:
    names = pq.read_schema(service.releases / service.release.release_id / "profiles.parquet").names
    declared = {feature.column for feature in FEATURES.profiles} - {"country"}
    assert {name for name in names if name.startswith("feature.")} == {f"feature.{name}" for name in declared}
    assert not {"gender", "attributes", "feature.gender", "feature.attributes"} & set(names)


def test_a_release_without_a_column_that_its_towers_read_is_not_opened(
    service: Service, tmp_path: Path
) -> None:
    release = service.releases / service.release.release_id
    shutil.copytree(release, tmp_path / "copy")
    whole = pq.read_table(release / "profiles.parquet")
    pq.write_table(whole.drop_columns("feature.age_band"), tmp_path / "copy" / "profiles.parquet")
    with pytest.raises(IntegrityError, match=r"columns of profiles is \('language', 'kids'.* 'age_band'"):
        read_parts(tmp_path / "copy", "copy", open_release(service.releases).manifest.description)
