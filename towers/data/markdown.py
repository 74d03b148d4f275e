"""Text and tables of the data as parts of a page in Markdown."""

from collections.abc import Collection, Sequence


def escaped(text: str) -> str:
    """Text of the data as text of the page: no markup, no line of its own."""
    flat = " ".join(text.split())
    for sign in "\\`*_[]<>|#":
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> str:
    """A table of these cells, which are escaped. numbers: of the columns, those that stand to the right."""
    rule = ["---:" if column in numbers else "---" for column in columns]
    lines = [columns, rule, *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
