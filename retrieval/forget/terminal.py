"""A receipt as a table in the terminal."""

from rich.console import RenderableType
from rich.table import Table

from retrieval.forget.receipt import Receipt


def receipt_table(receipt: Receipt) -> RenderableType:
    """Every place, what was done there, how many rows that took out, and until when the rest is due."""
    table = Table("where", "what", "rows", "due", box=None, pad_edge=False)
    for place in receipt.places:
        rows = ", ".join(f"{num:,} {name}" for name, num in place.num_rows.items())
        table.add_row(place.where, place.action, rows, place.due or "done")
    return table if receipt.places else "nothing to erase"
