"""What a search chose, written, read and put in place."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from towers.errors import ConfigError, MissingDataError
from towers.ladder.neighbours import ItemKNNSettings
from towers.ladder.rungs import RungName, RungSettings
from towers.ladder.trees import TreeObjective
from towers.ladder.tuned import TunedRung, read_tuned, with_tuned, write_tuned
from towers.nets.two_tower import ModelSettings
from towers.training.settings import FitSettings

TUNED = {
    RungName.ITEM_KNN: TunedRung(
        {"item_knn.num_neighbours": 7, "item_knn.shrinkage": 2.5, "item_knn.recency": 0.125}, 0.05, 0.0625, 30
    ),
    RungName.POPULAR_RECENT: TunedRung({"recent.days": 3.0}, 0.01, 0.02, 4),
    RungName.TREES: TunedRung({"trees.objective": "binary", "trees.examples.num_questions": 2}, None, 0.1, 9),
    RungName.TOWERS: TunedRung({"towers.model.dim": 32, "towers.objective.temperature": 0.1}, 0.0, 1.0, 1),
}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_tuned(TUNED, tmp_path / "tuned.json")
    assert read_tuned(tmp_path / "tuned.json") == TUNED
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.json"]
    write_tuned({}, tmp_path / "tuned.json")
    assert read_tuned(tmp_path / "tuned.json") == {}


def test_the_chosen_fields_are_put_in_place_and_no_other() -> None:
    default = RungSettings()
    given = replace(default, ease=replace(default.ease, regularisation=3.0))
    expected = replace(
        given,
        item_knn=ItemKNNSettings(num_neighbours=7, shrinkage=2.5, recency=0.125),
        recent=replace(default.recent, days=3.0),
        trees=replace(
            default.trees,
            objective=TreeObjective.BINARY,
            examples=replace(default.trees.examples, num_questions=2),
        ),
    )
    fit = FitSettings()
    rungs, towers = with_tuned(given, fit, TUNED)
    assert rungs == expected
    assert type(rungs.trees.objective) is TreeObjective
    assert towers == replace(
        fit, model=ModelSettings(dim=32), objective=replace(fit.objective, temperature=0.1)
    )
    assert with_tuned(given, fit, {}) == (given, fit)


Edit = Callable[[dict[str, Any]], object]


def of_fields(name: str, **chosen: Any) -> Edit:
    return lambda plain: plain["rungs"][name]["fields"].update(
        {key.replace("__", "."): value for key, value in chosen.items()}
    )


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda plain: plain.update(version=2), "'tuned-rungs' version 2; expected 'tuned-rungs' version 1"),
        (lambda plain: plain.update(format="schedule"), "'schedule' version 1"),
        (lambda plain: plain.pop("rungs"), "expected tuned settings in JSON"),
        (lambda plain: plain["rungs"].update(blend={}), r"rungs: \['blend'\]; expected some of"),
        (
            of_fields("item_knn", item_knn__neighbours=3),
            "fields.item_knn.neighbours: unknown field of item_knn",
        ),
        (
            of_fields("item_knn", ease__regularisation=3.0),
            "fields.ease.regularisation: unknown field of item_knn",
        ),
        (
            of_fields("item_knn", item_knn__num_neighbours=3.5),
            "num_neighbours: found 3.5; expected int",
        ),
        (of_fields("item_knn", item_knn__num_neighbours=True), "num_neighbours: found True; expected int"),
        (of_fields("item_knn", item_knn__num_neighbours=0), "num_neighbours: 0 is out of range"),
        (of_fields("item_knn", item_knn__shrinkage=float("nan")), "shrinkage: nan is out of range"),
        (of_fields("item_knn", item_knn__shrinkage=None), "shrinkage: found None; expected float"),
        (of_fields("trees", trees__objective="auc"), "found 'auc'; expected one of lambdarank, binary"),
        (of_fields("towers", towers__model__dim="wide"), "model.dim: found 'wide'; expected int"),
        (lambda plain: plain["rungs"]["trees"].pop("best"), "trees: .*; expected"),
        (lambda plain: plain["rungs"]["trees"].update(best=None), "trees: best: None; expected an N@10"),
        (lambda plain: plain["rungs"]["trees"].update(best=1.5), "trees: best: 1.5; expected an N@10"),
        (lambda plain: plain["rungs"]["trees"].update(num_trials=0), "num_trials: 0; expected a count"),
        (lambda plain: plain["rungs"]["trees"].update(fields=[]), r"fields: \[\]; expected fields"),
        (lambda plain: plain["rungs"].update(trees=3), "trees: 3; expected"),
    ],
)
def test_a_file_that_says_something_else_is_refused(edit: Edit, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    write_tuned(TUNED, path)
    plain = json.loads(path.read_text())
    edit(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(ConfigError, match=said) as caught:
        read_tuned(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": "tuned-rungs", "version": 1}'])
def test_a_file_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="expected tuned settings in JSON"):
        read_tuned(path)


def test_a_file_that_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"run scripts/tune\.py first"):
        read_tuned(tmp_path / "tuned.json")
