"""Searches for the settings of real rungs, in small worlds on disk."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.worlds import block_world, log_tables, write_tables
from towers.data.dataset import dataset_from_tables, read_dataset
from towers.data.schema import Tables
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitKind, SplitSettings, split
from towers.errors import ConfigError, MissingDataError, SchemaError
from towers.evaluation.evaluate import evaluate
from towers.ladder.neighbours import ItemKNNSettings, fit_item_knn
from towers.ladder.rungs import RungName, RungSettings
from towers.ladder.search import Search
from towers.ladder.search_spaces import Plain
from towers.ladder.trees import TreeSettings
from towers.ladder.trials import Outcome
from towers.ladder.tuned import TUNED_FILE, read_tuned, with_tuned
from towers.ladder.tuning import TuningSettings, make_bench, tune
from towers.ladder.tuning_report import render, write_plot
from towers.training.settings import FitSettings

SIGNALS = SignalSettings()
NUM_ITEMS = 48


def world() -> Tables:
    return block_world(3, NUM_ITEMS // 3, 12, 10, seed=3)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write_tables(world(), tmp_path / "tables")
    return tmp_path / "tables"


def searched(
    tables: Path,
    folder: Path,
    settings: TuningSettings,
    *,
    kind: SplitKind = SplitKind.LEAVE_ONE_OUT,
    rungs: RungSettings | None = None,
    seed: int = 0,
) -> tuple[Search, ...]:
    split_settings = SplitSettings(kind, test_share=0.2, validation_share=0.2)
    rungs = rungs or RungSettings()
    return tune(tables, SIGNALS, split_settings, rungs, FitSettings(), settings, seed, folder)


def outline(searches: tuple[Search, ...]) -> list[tuple[str, int, str, Mapping[str, Plain], float | None]]:
    return [
        (each.name.value, trial.place, trial.outcome.value, trial.chosen, trial.value)
        for each in searches
        for trial in each.trials
    ]


def test_rungs_are_judged_by_validation_and_what_is_written_gives_that_value_again(
    tables: Path, tmp_path: Path
) -> None:
    # From settings that see next to nothing of a history there is something to gain.
    poor = ItemKNNSettings(num_neighbours=10, shrinkage=1_000.0, recency=2.0)
    rungs = replace(RungSettings(), item_knn=poor)
    settings = TuningSettings(["item_knn", "popular_decayed"], num_trials=10)
    decayed, knn = searched(tables, tmp_path / "tune", settings, rungs=rungs)
    assert (decayed.name, knn.name) == (RungName.POPULAR_DECAYED, RungName.ITEM_KNN)
    assert len(decayed.trials) == len(knn.trials) == 10

    parts = split(read_dataset(tables, SIGNALS), SplitSettings())

    def value(of: ItemKNNSettings) -> float:
        judged = evaluate(fit_item_knn(parts.train, NUM_ITEMS, of), parts.validation, num_items=NUM_ITEMS)
        return float(judged.per_query("ndcg@10").mean())

    assert knn.default is not None
    assert knn.best is not None
    assert knn.default.value == pytest.approx(value(poor), abs=1e-12)
    tuned = read_tuned(tmp_path / "tune" / TUNED_FILE)
    assert set(tuned) == {RungName.POPULAR_DECAYED, RungName.ITEM_KNN}
    best = with_tuned(rungs, FitSettings(), tuned)[0].item_knn
    assert best != poor
    assert value(best) == pytest.approx(tuned[RungName.ITEM_KNN].best, abs=1e-12)
    assert value(best) > value(poor)
    assert knn.gain is not None
    assert knn.gain.difference == pytest.approx(value(best) - value(poor), abs=1e-12)


def test_a_search_goes_on_where_it_stopped_and_never_with_trials_of_other_data(
    tables: Path, tmp_path: Path
) -> None:
    settings = TuningSettings(["markov"], num_trials=3)
    (first,) = searched(tables, tmp_path / "tune", settings)
    (more,) = searched(tables, tmp_path / "tune", replace(settings, num_trials=6))
    assert more.trials[:3] == first.trials  # with their seconds: they were not measured again
    assert len(more.trials) == 6
    (alone,) = searched(tables, tmp_path / "alone", replace(settings, num_trials=6))
    assert outline((alone,)) == outline((more,))

    write_tables(block_world(3, NUM_ITEMS // 3, 12, 9, seed=3), tmp_path / "others")
    (other,) = searched(tmp_path / "others", tmp_path / "tune", settings)
    assert len(other.trials) == 3
    assert {trial.value for trial in other.trials}.isdisjoint({trial.value for trial in first.trials})
    (seeded,) = searched(tables, tmp_path / "tune", settings, seed=1)
    assert outline((seeded,))[1:] != outline((first,))[1:]


def with_other_answers(tables: Tables, kind: SplitKind) -> Tables:
    """The log with every test event made one of a title that its profile never watched."""
    events = tables.events
    profile, item = events["profile_id"].to_pylist(), events["item_id"].to_pylist()
    start = np.array(events["start"].cast(pa.int64()))
    if kind is SplitKind.LEAVE_ONE_OUT:
        last = {each: max(start[np.array(profile) == each]) for each in set(profile)}
        is_test = np.array([when == last[each] for each, when in zip(profile, start, strict=True)])
    else:
        is_test = start >= np.quantile(start, 0.8, method="higher")
    watched = set(zip(profile, item, strict=True))
    for event in np.flatnonzero(is_test).tolist():
        unwatched = next(f"i{row}" for row in range(NUM_ITEMS) if (profile[event], f"i{row}") not in watched)
        item[event] = unwatched
        watched.add((profile[event], unwatched))
    place = events.schema.get_field_index("item_id")
    return replace(tables, events=events.set_column(place, events.schema.field(place), [pa.array(item)]))


@pytest.mark.parametrize("kind", list(SplitKind))
def test_the_test_answers_are_never_read(kind: SplitKind, tmp_path: Path) -> None:
    changed = with_other_answers(world(), kind)
    settings = SplitSettings(kind, test_share=0.2, validation_share=0.2)
    one, other = (split(dataset_from_tables(each), settings) for each in (world(), changed))
    assert not np.array_equal(one.test.target_row, other.test.target_row)
    np.testing.assert_array_equal(one.validation.target_row, other.validation.target_row)

    names = ["popular_decayed", "trending", "more_of", "item_knn", "profile_knn", "markov", "linear", "trees"]
    names += ["ease", "ials"]
    found = []
    for place, each in enumerate((world(), changed)):
        write_tables(each, tmp_path / f"tables-{place}")
        found.append(
            searched(
                tmp_path / f"tables-{place}",
                tmp_path / f"tune-{place}",
                TuningSettings(names, num_trials=1, pilot_share=0.5),
                kind=kind,
                rungs=replace(RungSettings(), trees=TreeSettings(num_trees=30, num_threads=1)),
            )
        )
    assert outline(found[0]) == outline(found[1])
    bench = make_bench(dataset_from_tables(world()), settings, RungSettings(), FitSettings(), 0)
    assert len(bench.parts.test) == 0


def test_a_rung_that_cannot_be_fitted_says_why_and_the_others_are_searched(tmp_path: Path) -> None:
    # Every title is watched once: no ranker finds an example to learn from.
    events = [
        (profile, 4 * profile + place, 86_400_000 * place) for profile in range(6) for place in range(4)
    ]
    write_tables(log_tables(events, num_items=24, num_profiles=6), tmp_path / "tables")
    settings = TuningSettings(["linear", "item_knn"], num_trials=2)
    knn, linear = searched(tmp_path / "tables", tmp_path / "tune", settings)
    assert knn.num(Outcome.FAILED) == 0
    assert linear.num(Outcome.FAILED) == 2
    assert linear.trials[0].reason is not None
    assert linear.trials[0].reason.startswith("TrainingError: examples: none of")
    assert set(read_tuned(tmp_path / "tune" / TUNED_FILE)) == {RungName.ITEM_KNN}
    write_plot((knn, linear), "a world", tmp_path)
    render((knn, linear), "a world")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (TuningSettings([]), r"^tune\.names: \[\]; expected some of popular_recent"),
        (TuningSettings(["item_nn"]), r"^tune\.names: \['item_nn'\]; expected some of"),
        (TuningSettings(["item_knn", "blend"]), r"^tune\.names: blend learns from the validation answers"),
        (TuningSettings(["ease"]), r"^rungs\.ease\.recency: 0\.0; a search of ease tries 0\.001 to 2"),
        (TuningSettings(["item_knn"], num_trials=0), r"^tune\.num_trials: 0 is out of range"),
        (TuningSettings(["item_knn"], minutes=0.0), r"^tune\.minutes: 0\.0 is out of range"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_trial(
    settings: TuningSettings, said: str, tables: Path, tmp_path: Path
) -> None:
    rungs = RungSettings()
    rungs = replace(rungs, ease=replace(rungs.ease, recency=0.0))
    with pytest.raises(ConfigError, match=said):
        searched(tables, tmp_path / "tune", settings, rungs=rungs)
    assert not (tmp_path / "tune").exists()


def test_a_split_without_validation_or_tables_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"items\.parquet"):
        searched(tmp_path / "nowhere", tmp_path / "tune", TuningSettings())
    once = log_tables([(profile, profile, 0) for profile in range(4)], num_items=6, num_profiles=4)
    write_tables(once, tmp_path / "short")
    with pytest.raises(SchemaError, match="leaves no validation question"):
        searched(tmp_path / "short", tmp_path / "tune", TuningSettings())
