"""What a recipe settled on, for a terminal: every value, and one sentence that says why."""

from enum import StrEnum
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from towers.training.recipe import Settled


def render(settled: Settled) -> Table:
    """A table of the values that a rule chose or a user gave; the others are their settings' defaults."""
    s = settled.statistics
    times = f"over {s.span_days:,.0f} days" if s.timed else "without times"
    heading = (
        f"recipe {settled.preset}: {s.num_items:,} titles, {s.num_profiles:,} profiles, "
        f"{s.num_events:,} events {times}, {s.mean_length:.1f} of a profile"
    )
    table = Table(title=Text(heading), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("why")
    for choice in settled.choices:
        # Text, not markup: lists have brackets, which are no styles.
        table.add_row(Text(choice.key), Text(_spelled(choice.value)), Text(choice.why))
    return table


def _spelled(value: Any) -> str:
    """A value as it would be given on a command line."""
    match value:
        case bool():
            return str(value).lower()
        case StrEnum():
            return value.value
        case float():
            return f"{value:g}"
        case _:
            return str(value)
