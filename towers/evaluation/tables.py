"""Tables of figures, for a terminal however narrow."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows of cells as one table, or as several below each other where the terminal is too narrow for one.

    So no number is ever cut; each table begins with the first `num_names` columns, which name the row.
    """

    columns: list[str]
    rows: list[list[str]]
    num_names: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        widths = [max(map(cell_len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        for places in _side_by_side(widths, self.num_names, options.max_width):
            yield Text()
            yield self._table(places)

    def _table(self, places: list[int]) -> Table:
        table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
        for place in places:
            is_name = place < self.num_names
            table.add_column(
                Text(self.columns[place]), justify="left" if is_name else "right", no_wrap=not is_name
            )
            # Where even a name and one number are too wide, it is the name that runs over several lines.
            table.columns[-1].overflow = "fold"
        for row in self.rows:
            table.add_row(*(Text(row[place]) for place in places))  # a name is text, never markup
        return table


def _side_by_side(widths: list[int], num_names: int, max_width: int) -> list[list[int]]:
    """Places of the columns of each table: the names, and as many others as fit, one space between two."""
    names = list(range(num_names))
    tables: list[list[int]] = []
    used = max_width
    for place in range(num_names, len(widths)):
        if used + 1 + widths[place] > max_width:
            tables.append(list(names))
            used = sum(widths[:num_names]) + num_names - 1
        tables[-1].append(place)
        used += 1 + widths[place]
    return tables


def number(value: float | None, form: str = ".4f") -> str:
    """The number as tables of the field print it, .0571 for 0.0571; a dash where there is none."""
    return NOTHING if value is None else re.sub(r"^([+-]?)0\.", r"\1.", f"{value:{form}}")


def estimate(value: float, low: float, high: float) -> str:
    """A difference, signed, and its interval."""
    shown, *bounds = (number(each, "+.4f") for each in (value, low, high))
    return f"{shown} [{', '.join(bounds)}]"
