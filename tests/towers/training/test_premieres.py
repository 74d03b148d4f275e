"""A planted world of premieres: titles come out every two weeks, and are watched in those two weeks alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.worlds import START_SECONDS, log_tables
from towers.data.batches import LoaderSettings
from towers.data.dataset import dataset_from_tables
from towers.data.schema import TIME
from towers.data.split import SplitKind, SplitSettings, split
from towers.evaluation.evaluate import Metric, evaluate
from towers.nets.two_tower import ModelSettings
from towers.objectives.settings import ObjectiveSettings
from towers.training.fit import fit_towers
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

DAY_MS = 86_400_000
NUM_WAVES, WAVE_DAYS, PER_WAVE, NUM_PROFILES = 10, 14, 3, 120
SETTINGS = FitSettings(
    model=ModelSettings(dim=64, moment_days=14.0, max_history=10),
    objective=ObjectiveSettings(),
    loader=LoaderSettings(batch_positions=256),
    trainer=TrainerSettings(max_epochs=15, learning_rate=1e-2, accelerator=Accelerator.CPU),
)


@pytest.mark.parametrize("age_share", [0.25, 0.0])
def test_premieres_are_recommended_before_anyone_has_watched_them(age_share: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    num_items = NUM_WAVES * PER_WAVE
    events = [
        (
            profile,
            PER_WAVE * wave + int(rng.integers(PER_WAVE)),
            DAY_MS * WAVE_DAYS * wave + int(rng.integers(DAY_MS * WAVE_DAYS)),
        )
        for wave in range(NUM_WAVES)
        for profile in range(NUM_PROFILES)
    ]
    events.sort(key=lambda one: one[2])
    tables = log_tables(events, num_items=num_items, num_profiles=NUM_PROFILES)
    released = [1000 * START_SECONDS + DAY_MS * WAVE_DAYS * (item // PER_WAVE) for item in range(num_items)]
    place = tables.items.schema.get_field_index("released")
    items = tables.items.set_column(place, "released", pa.array(released, TIME))
    dataset = dataset_from_tables(replace(tables, items=items))
    parts = split(dataset, SplitSettings(kind=SplitKind.GLOBAL_TIME))
    # The last wave tests, and the one before it selects: nothing is learned of either.
    assert not parts.seen[parts.test.target_row].any()
    model = replace(SETTINGS.model, age_share=age_share)
    towers = fit_towers(dataset, parts, replace(SETTINGS, model=model), tmp_path)
    found = evaluate(
        towers.exact(towers.encoder.encode(dataset.items)),
        parts.test,
        num_items=num_items,
        ks=(PER_WAVE,),
        name="test",
        show_progress=False,
    )
    recall = float(found.per_query(Metric.RECALL.at(PER_WAVE)).mean())
    # Nothing but its day of release tells a premiere of these weeks from the other titles.
    assert recall > 0.7 if age_share else recall < 0.1
