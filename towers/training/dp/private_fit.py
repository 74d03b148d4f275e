"""What of a log a private training may look at without noise, and what it says in the end."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from towers.data.dataset import Dataset
from towers.data.histories import Histories
from towers.data.split import HeldOut, Split
from towers.folders import replace_file
from towers.training.dp.mechanism import Mechanism

PRIVACY_FILE = "differential_privacy.json"
DIFFERENTIAL_PRIVACY = "differential_privacy"
"""Of the context of an export: what `Mechanism.report` gives; absent where training was not private."""

log = logging.getLogger(__name__)


def public_split(split: Split, dataset: Dataset) -> Split:
    """The split as a private training may see it: every title of the catalogue alike, and no questions.

    Which titles somebody watched decides neither what is a negative nor what is encoded: one profile more
    would change the losses of all others. And no epoch is selected: the questions are private too.
    """
    none = np.zeros(0, np.int64)
    nobody = HeldOut(
        profile_row=none,
        history=Histories.empty(0),
        time_seconds=none,
        country=dataset.country[:0],
        target_offset=np.zeros(1, np.int64),
        target_row=none,
        profiles=dataset.profile_table.slice(0, 0),
    )
    every_title = np.ones(len(dataset.catalogue), np.int64)
    return replace(split, num_watches=every_title, validation=nobody, test=nobody)


def write_report(mechanism: Mechanism, num_steps: int, max_events: int, folder: Path) -> None:
    """Writes differential_privacy.json, and a line of the log: what the steps taken have spent."""
    report = mechanism.report(num_steps, max_events)
    replace_file(folder / PRIVACY_FILE, json.dumps(report, indent=2))
    log.info(
        "trained privately epsilon=%s delta=%.3g noise_multiplier=%.4f max_grad_norm=%g sample_rate=%.4g "
        "steps=%d profiles=%d",
        *(_spelled(report["epsilon"]), mechanism.delta, mechanism.noise_multiplier, mechanism.max_grad_norm),
        *(mechanism.sample_rate, num_steps, mechanism.num_profiles),
    )


def spent(folder: Path) -> dict[str, Any]:
    """What `write_report` wrote of a training, for the context of its export; empty where there is none."""
    path = folder / PRIVACY_FILE
    if not path.is_file():
        return {}
    return {DIFFERENTIAL_PRIVACY: json.loads(path.read_text(encoding="utf-8"))}


def _spelled(epsilon: float | None) -> str:
    return "infinite" if epsilon is None else f"{epsilon:.3f}"
