"""A data card in a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from towers.data.card.figures import Card
from towers.data.card.wording import Cells, findings, loss_cells, summary, table_cells

_NUMBERS = {"rows", "read", "rejected", "added", "share"}


def render(card: Card) -> Group:
    """What came in, what did not, and what each figure says; the columns are on the page alone."""
    parts: list[RenderableType] = [Text(card.title, style="bold"), *map(Text, summary(card)), Text()]
    parts.append(_table(table_cells(card)))
    if card.report is not None and card.report.counts:
        parts.append(_table(loss_cells(card.report)))
    parts += [Text(f"- {words}") for _, words in findings(card)]
    return Group(*parts)


def _table(cells: Cells) -> Table:
    columns, rows = cells
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # values of the data are text, never markup
    return table
