"""A data card as a page that people read: what came in, what did not, and what the log looks like."""

from collections.abc import Sequence

from towers.data.card.figures import Card
from towers.data.card.wording import (
    column_cells,
    column_notes,
    findings,
    loss_cells,
    summary,
    table_cells,
)
from towers.data.markdown import escaped, table

_HEADINGS = {
    "events_over_time": "Events over time",
    "hours": "Hour of the day",
    "minutes": "Minutes watched",
    "completion": "Share of the title watched",
    "history_length": "Events per profile",
    "popularity": "Events per title",
    "new_titles": "Titles watched for the first time",
    "countries": "Countries",
}
_TEXT_COLUMNS = {"table", "rule", "column", "outcome", "first", "most frequent (rows)"}


def markdown(card: Card, plots: Sequence[str] | None) -> str:
    """The page. plots: names of the pictures that stand beside it; None where they could not be drawn."""
    blocks = [f"# Data card: {escaped(card.title)}", *(map(escaped, summary(card)))]
    blocks.append(_table(*table_cells(card)))
    if card.report is not None:
        blocks.append("## Left out or changed")
        blocks.append(
            _table(*loss_cells(card.report)) if card.report.counts else "Every row kept every rule."
        )
    if card.table("events").num_rows:
        blocks.append("## Watching")
    if plots is None:
        blocks.append("No pictures: they need matplotlib, which is not installed.")
    for name, words in findings(card):
        blocks.append(f"### {_HEADINGS[name]}")
        if plots and name in plots:
            blocks.append(f"![{_HEADINGS[name]}]({name}.png)")
        blocks.append(escaped(words))
    for each in card.tables:
        if each.num_rows:
            blocks += [f"## Columns of {each.name}", _table(*column_cells(each))]
            blocks += map(escaped, column_notes(each, card.min_profiles))
    return "\n\n".join(blocks) + "\n"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    return table(columns, rows, set(columns) - _TEXT_COLUMNS)
