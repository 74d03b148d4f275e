"""Rungs of the ladder as what a feedback loop trains anew every cycle."""

import tempfile
from pathlib import Path

from towers.audit.feedback import FeedbackSettings, Learner
from towers.data.dataset import Dataset
from towers.data.days import SECONDS_PER_DAY
from towers.data.split import SplitKind
from towers.ladder.decay_study import SELECTING
from towers.ladder.origins import split_at
from towers.ladder.rungs import RungName, RungSettings, asked_like, fit_rung
from towers.recommender import Recommender
from towers.training.recipe import GivenSettings, Preset, recipe, statistics
from towers.training.settings import FitSettings


def rung_learner(settings: FeedbackSettings, rungs: RungSettings, seed: int) -> Learner:
    """The rung of the settings, on all events up to each cycle.

    A rung that selects by validation questions holds out the cycle before. The towers are those that the
    recipe chooses for the log as it is in that cycle; their checkpoints are not kept. seed: of the towers.
    """
    rungs = asked_like(rungs, SplitKind.GLOBAL_TIME)
    days = settings.cycle_days

    def learn(dataset: Dataset, end_seconds: int) -> Recommender:
        held_out_days = days if settings.rung in SELECTING else 0
        window = days * SECONDS_PER_DAY
        parts = split_at(dataset, end_seconds, validation_days=held_out_days, window_seconds=window)
        towers = FitSettings()
        if settings.rung is RungName.TOWERS:
            towers = recipe(statistics(parts), Preset.FAST, GivenSettings(seed=seed)).fit
        with tempfile.TemporaryDirectory() as folder:
            return fit_rung(settings.rung, dataset, parts, rungs, towers, Path(folder))

    return learn
