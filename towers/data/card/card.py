"""A folder of canonical tables → its data card: figures, page and plots."""

import json
import logging
from pathlib import Path

from towers.data.card.behaviour import measure_behaviour
from towers.data.card.columns import measure_table
from towers.data.card.figures import Card
from towers.data.card.page import markdown
from towers.data.card.plots import draw_plots
from towers.data.ingest.ingest import REPORT_FILE, read_report
from towers.data.schema import SCHEMAS
from towers.errors import MissingDataError, QueryError
from towers.folders import replace_folder

log = logging.getLogger(__name__)

CARD_FOLDER = "card"
MIN_PROFILES = 5
"""A value of profiles is shown where so many of them share it."""


def write_card(folder: Path, *, min_profiles: int = MIN_PROFILES) -> Card:
    """Measures the canonical tables in `folder` and writes card.json, card.md and plots to its folder `card`.

    Reads items, events, profiles and queries.parquet in a stream, and ingest.json where it is there; the same
    tables give the same card. No profile id, no value of fewer than `min_profiles` profiles, and no value of
    a rejected row is on it. Without matplotlib there are no plots, and the page says so.
    Raises MissingDataError where a table is not there.
    """
    card = measure_card(folder, min_profiles=min_profiles)
    plots: list[tuple[str, ...] | None] = []

    def write(aside: Path) -> None:
        plots.append(draw_plots(card.behaviour, aside))
        plain = json.dumps(card.to_json(), indent=1, ensure_ascii=False)
        (aside / "card.json").write_text(plain + "\n", encoding="utf-8")
        (aside / "card.md").write_text(markdown(card, plots[-1]), encoding="utf-8")

    replace_folder(folder / CARD_FOLDER, write)
    if plots[-1] is None:
        log.warning("data card has no plots: matplotlib is not installed")
    log.info("wrote data card folder=%s num_plots=%d", folder / CARD_FOLDER, len(plots[-1] or ()))
    return card


def measure_card(folder: Path, *, min_profiles: int = MIN_PROFILES) -> Card:
    """The figures of the canonical tables in `folder`."""
    if min_profiles < 1:
        raise QueryError(f"min_profiles = {min_profiles}; expected >= 1")
    for name in SCHEMAS:
        if not (path := folder / f"{name}.parquet").is_file():
            raise MissingDataError(f"{path}: no such table; expected a folder that ingest wrote")
    tables = {name: measure_table(folder, name, min_profiles) for name in SCHEMAS}
    # Tables that were not ingested have no report.
    report = read_report(folder) if (folder / REPORT_FILE).is_file() else None
    return Card(
        title=folder.resolve().name if report is None else report.title,
        tables=tuple(tables.values()),
        behaviour=measure_behaviour(folder, tables["events"], tables["profiles"], min_profiles),
        report=report,
        min_profiles=min_profiles,
    )
