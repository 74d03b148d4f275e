"""Variants of rungs in a world where only what follows what tells the next title; and what cannot be one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conf.compose import compose_settings
from conf.schema import LadderSettings
from tests.worlds import DAY_SECONDS, log_tables, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.schema import Tables
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError
from towers.evaluation.evaluate import evaluate
from towers.evaluation.significance import sign_flip
from towers.ladder.candidates import CandidateSettings, FeatureGroup
from towers.ladder.climb import LADDER_FILE, ClimbSettings, climb
from towers.ladder.linear import LinearSettings, fit_linear
from towers.ladder.measured import Job, read_row
from towers.ladder.rungs import RungName, RungSettings, settings_of
from towers.ladder.trees import TreeSettings, fit_trees
from towers.ladder.variants import Compared, Variant, check_variants, compare
from towers.ladder.verdict import Measured, Spent
from towers.training.settings import FitSettings

NUM_ITEMS, NUM_PROFILES, NUM_EVENTS = 60, 90, 8
BLIND: list[FeatureGroup] = [group for group in FeatureGroup if group is not FeatureGroup.SCORES]


def walks() -> Tables:
    """Each profile watches titles in one cyclic order, a day each, from a title and a day by chance.

    No title has a genre, a year or people, all are watched about as often, and at any time: only item-kNN and
    the Markov counts know which comes next.
    """
    rng = np.random.default_rng(4)
    title = rng.permutation(NUM_ITEMS)
    start, day = rng.integers(0, NUM_ITEMS, NUM_PROFILES), rng.integers(0, 365, NUM_PROFILES)
    events = [
        (
            profile,
            int(title[(start[profile] + step) % NUM_ITEMS]),
            int(day[profile] + step) * DAY_SECONDS * 1000,
        )
        for profile in range(NUM_PROFILES)
        for step in range(NUM_EVENTS)
    ]
    return log_tables(events, num_items=NUM_ITEMS, num_profiles=NUM_PROFILES)


@pytest.mark.parametrize("rung", [RungName.LINEAR, RungName.TREES])
def test_the_group_that_carries_the_signal_is_enough_and_without_it_nothing_is_left(rung: RungName) -> None:
    dataset = dataset_from_tables(walks())
    parts = split(dataset, SplitSettings())

    def ndcg(features: list[FeatureGroup]) -> float:
        candidates = CandidateSettings(features=features)
        log = parts.train, dataset.items, dataset.country
        fitted = (
            fit_linear(*log, LinearSettings(candidates=candidates))
            if rung is RungName.LINEAR
            else fit_trees(*log, TreeSettings(candidates=candidates, num_trees=30))
        )
        return evaluate(fitted, parts.test, num_items=NUM_ITEMS, ks=(10,)).means["ndcg@10"] or 0.0

    whole, alone, blind = ndcg(list(FeatureGroup)), ndcg([FeatureGroup.SCORES]), ndcg(BLIND)
    assert whole > 0.8
    assert alone > 0.8
    assert blind < 0.3  # ten of the 52 titles not watched, in any order, give 0.087


def test_variants_are_measured_beside_their_rung_and_taken_up_again(tmp_path: Path) -> None:
    tables, folder = tmp_path / "tables", tmp_path / "ladder"
    write_tables(walks(), tables)
    blind = Variant(
        "blind", RungName.LINEAR, {"linear.candidates.features": [group.value for group in BLIND]}
    )
    hasty = Variant("hasty", RungName.LINEAR, {"linear.logistic.max_iterations": 1})
    settings = ClimbSettings(names=["linear"], curve_names=[], ks=[10], variants=[hasty, blind])
    climbed = climb(tables, SignalSettings(), SplitSettings(), settings, FitSettings(), folder)
    assert [row.name for row in climbed.rows] == [RungName.LINEAR]

    written = json.loads((folder / LADDER_FILE).read_text())
    failed, found = written["variants"]
    assert failed["name"] == "hasty"
    assert failed["difference"] is failed["p_value"] is failed["evaluation"] is None
    assert "no convergence in 1 iterations" in failed["failure"]
    assert (found["name"], found["rung"], found["settings"]) == ("blind", "linear", blind.settings)
    linear = written["rungs"][0]["evaluation"]["ndcg@10"]
    assert found["difference"]["difference"] == pytest.approx(found["evaluation"]["ndcg@10"] - linear)
    assert found["difference"]["high"] < -0.4
    # One variant of the two could be compared: Holm has nothing to correct.
    values = [np.load(folder / name) for name in ("variants/blind.npy", "rows/linear.npy")]
    assert found["p_value"] == sign_flip(*values) < 0.001

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json") if path.name != LADDER_FILE}
    settings = replace(settings, variants=[blind])
    again = climb(tables, SignalSettings(), SplitSettings(), settings, FitSettings(), folder)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [each.compared for each in again.variants] == [climbed.variants[1].compared]

    # What an earlier climb measured under the same name and other settings is not taken for the variant's.
    job = Job(
        RungName.LINEAR,
        tables,
        SignalSettings(),
        SplitSettings(),
        RungSettings(),
        FitSettings(),
        (10,),
        folder,
    )
    other = replace(blind, settings={"linear.candidates.features": ["popularity"]})
    assert read_row(replace(job, variant=blind)) is not None
    assert read_row(replace(job, variant=other)) is None
    assert read_row(replace(job, variant=replace(blind, name="unheard"))) is None


def measured(value: np.ndarray) -> Measured:
    return Measured("a", value, Spent(0.0, 0.0, 0.0, 0, 0, 0.0, 0.0))


def test_p_values_are_corrected_over_all_variants_that_could_be_compared() -> None:
    rung = np.zeros(12)
    # k questions won and none lost: two of the 2^k patterns of signs are as extreme, p = 2^(1-k).
    won = [np.where(np.arange(12) < k, 0.5, 0.0) for k in (10, 6, 5)]
    pairs = [(measured(value), measured(rung)) for value in won]
    compared = compare([pairs[2], (None, measured(rung)), pairs[0], (measured(rung), None), pairs[1]])
    assert [each.p_value for each in compared] == [
        pytest.approx(2 * 2**-5), None, pytest.approx(3 * 2**-9), None, pytest.approx(2 * 2**-5),
    ]  # fmt: skip
    assert compared[1] == compared[3] == Compared()
    assert compared[2].difference is not None
    assert compared[2].difference.difference == pytest.approx(5 / 12)
    assert compare([]) == ()


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("rung: populer, settings: {popular.days: 7}", r"rung: 'populer' is not a choice"),
        (
            "rung: trees, settings: {trees.objctive: binary}",
            r"settings\.trees\.objctive: no setting 'objctive'",
        ),
        (
            "rung: trees, settings: {trees.objective: x}",
            r"settings\.trees\.objective: found 'x'; expected one of",
        ),
        ("rung: trees, settings: {trees.num_trees: 0}", r"settings\.trees\.num_trees: 0 is out of range"),
        (
            "rung: trees, settings: {trees.num_trees: 1.5}",
            r"settings\.trees\.num_trees: found 1\.5; expected int",
        ),
        (
            "rung: trees, settings: {trees.num_trees: true}",
            r"settings\.trees\.num_trees: found True; expected int",
        ),
        (
            "rung: trees, settings: {trees.num_trees.x: 1}",
            r"settings\.trees\.num_trees\.x: nothing stands below 'num_trees'",
        ),
        (
            "rung: trees, settings: {trees: 1}",
            r"settings\.trees: found 1; expected one of objective, .* below it",
        ),
        ("rung: trees, settings: {ease.recency: 0}", r"settings\.ease\.recency: no setting of trees"),
        ("rung: trees, settings: {trees.num_trees: 100}", r"settings: trees\.num_trees=100; expected others"),
        ("rung: trees", r"settings: none; expected others than trees is climbed with"),
        (
            "rung: popular, settings: {popular.days: x}",
            r"settings\.popular\.days: found 'x'; expected float or null",
        ),
        (
            "rung: linear, settings: {linear.candidates.features: []}",
            r"settings\.linear\.candidates\.features: .*none; expected some of scores, popularity",
        ),
        (
            "rung: linear, settings: {linear.candidates.features: [scores, tme]}",
            r"settings\.linear\.candidates\.features\[1\]: found 'tme'; expected one of scores, ",
        ),
        (
            "rung: towers, settings: {towers.objective.temperature: 0}",
            r"settings\.towers\.objective\.temperature: 0\.0 is out of range",
        ),
        (
            "rung: towers, settings: {towers.features.items: [{name: a, kind: multi}]}",
            r"settings\.towers\.features\.items\[0\]: found \['kind', 'name'\]; expected some of name, ",
        ),
    ],
)
def test_what_cannot_be_a_variant_is_refused_with_its_full_key(variant: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^climb\.variants\[0\]\.{said}"):
        compose_settings(LadderSettings, "ladder", (f"climb.variants=[{{name: other, {variant}}}]",))


def test_a_variant_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    write_tables(walks(), tmp_path / "tables")
    bad = Variant("other", RungName.EASE, {"ease.recency": 0})
    for settings, said in (
        (
            ClimbSettings(names=["popular"], curve_names=[], variants=[bad]),
            r"rung: ease; expected .*: popular$",
        ),
        (ClimbSettings(variants=[replace(bad, name="trees")]), r"name: 'trees'; expected a word, of no rung"),
        (ClimbSettings(variants=[replace(bad, name="../x")]), r"name: '\.\./x'; expected a word"),
    ):
        with pytest.raises(ConfigError, match=rf"^climb\.variants\[0\]\.{said}"):
            climb(
                tmp_path / "tables",
                SignalSettings(),
                SplitSettings(),
                settings,
                FitSettings(),
                tmp_path / "to",
            )
    with pytest.raises(ConfigError, match=r"^climb\.variants\[1\]\.name: 'other'; .* no other variant"):
        check_variants([bad, bad], list(RungName), RungSettings(), FitSettings())
    assert not (tmp_path / "to").exists()


def test_settings_are_varied_by_dotted_keys_and_by_maps_alike_and_nothing_else_moves() -> None:
    dotted = Variant("a", RungName.BLEND, {"ease.recency": 0, "blend.logistic.inverse_penalty": 2.0})
    nested = Variant(
        "b", RungName.BLEND, {"ease": {"recency": 0.0}, "blend": {"logistic": {"inverse_penalty": 2}}}
    )
    rungs, towers = dotted.of(RungSettings(), FitSettings(), "")
    assert (rungs, towers) == nested.of(RungSettings(), FitSettings(), "")
    assert rungs.ease.recency == 0.0
    assert rungs.blend.logistic.inverse_penalty == 2.0
    plain = RungSettings()
    back = replace(rungs, ease=plain.ease, blend=plain.blend)
    assert (back, towers) == (plain, FitSettings())
    assert dotted.differs == "ease.recency=0, blend.logistic.inverse_penalty=2.0"


def test_the_towers_are_varied_below_their_own_name() -> None:
    variant = Variant(
        "a",
        RungName.TOWERS,
        {
            "towers.objective.temperature": 0.2,
            "towers.features": {"items": [{"name": "genre", "kind": "multi", "column": "genres"}]},
        },
    )
    rungs, towers = variant.of(RungSettings(), FitSettings(), "")
    assert rungs == RungSettings()
    assert towers.objective.temperature == 0.2
    assert [feature.column for feature in towers.features.items] == ["genres"]
    assert towers.features.profiles == FitSettings().features.profiles


def test_every_rung_names_settings_that_are_there() -> None:
    for name in RungName:
        for field in settings_of(name):
            assert field == "towers" or hasattr(RungSettings(), field)


def test_the_standard_variants_can_be() -> None:
    settings = compose_settings(LadderSettings, "ladder", ("variants=standard",))
    assert {variant.rung for variant in settings.climb.variants} >= {RungName.TREES, RungName.LINEAR}
    assert compose_settings(LadderSettings, "ladder").climb.variants == []


def test_settings_out_of_range_are_not_laid_at_the_door_of_a_variant() -> None:
    variant = "climb.variants=[{name: other, rung: trees, settings: {trees.objective: binary}}]"
    with pytest.raises(ConfigError, match=r"^climb\.rungs\.trees\.num_trees: 0 is out of range"):
        compose_settings(LadderSettings, "ladder", (variant, "climb.rungs.trees.num_trees=0"))
