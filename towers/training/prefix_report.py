"""What vectors that were trained to be cut short are worth at each of their lengths."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from towers.data.encoded import EncodedItems
from towers.data.split import HeldOut
from towers.evaluation.prefixes import prefix_quality
from towers.folders import replace_file
from towers.nets.two_tower import TwoTower
from towers.objectives.settings import ObjectiveSettings

PREFIX_FILE = "prefix_quality.json"

log = logging.getLogger(__name__)


def report_prefixes(
    towers: TwoTower, encoded: EncodedItems, validation: HeldOut, objective: ObjectiveSettings, folder: Path
) -> None:
    """Writes prefix_quality.json, [{dim, ndcg_at_10, recall_at_10}], and a line of the log for each.

    Of the objective's prefixes and the whole, on the validation questions; nothing where the objective has no
    prefixes or there are no questions.
    """
    if not objective.matryoshka or len(validation) == 0:
        return
    dims = sorted({*objective.matryoshka, towers.settings.dim})
    rows = prefix_quality(towers.exact(encoded), validation, dims)
    replace_file(folder / PREFIX_FILE, json.dumps([asdict(row) for row in rows], indent=2))
    for row in rows:
        log.info(
            "prefix judged dimensions=%d validation_ndcg10=%.4f validation_recall10=%.4f",
            row.dim,
            row.ndcg_at_10,
            row.recall_at_10,
        )
