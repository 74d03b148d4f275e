"""`python -m benchmarks` lists every claim; `python -m benchmarks <claim>` measures one.

Exit code 0 when no bound was missed, 1 when one was, 2 when the claim could not be measured.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.claims import BenchmarkError, Claim, Verdict, read_claims, spelled
from benchmarks.measurement import Measurement, Record, last_record, record, save
from towers.errors import TowersError

_STYLE = {
    Verdict.MET: "green",
    Verdict.MISSED: "bold red",
    Verdict.NOT_MEASURED: "dim",
    Verdict.NEEDS_GPU: "dim",
}


def main() -> int:
    """Lists the claims or measures one, and gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("claim", nargs="?", help="the claim to measure; without it, all are listed")
    name = parser.parse_args().claim
    try:
        claims = read_claims()
        if name is None:
            print_figures((claim, last_record(claim)) for claim in claims.values())
            return 0
        return measure(name, claims)
    except TowersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def measure(name: str, claims: dict[str, Claim]) -> int:
    """Measures one claim, saves its record, and prints a table and, as the last line, the record in JSON."""
    claim = claims.get(name)
    if claim is None:
        raise BenchmarkError(f"no claim is named {name!r}; expected one of {', '.join(claims)}")
    if find_spec(claim.module) is None:
        raise BenchmarkError(
            f"{name}: nothing measures it yet; it belongs to the capability {claim.capability!r}"
        )
    measured = cast("Callable[[], Measurement]", import_module(claim.module).measure)()
    made = record(claim, measured)
    path = save(made)
    print(f"saved {path}", file=sys.stderr)
    print_figures([(claim, made)])
    print(made.to_json())
    missed = any(claim.verdict(key, made.figures) is Verdict.MISSED for key in claim.bounds)
    return 1 if missed else 0


def print_figures(rows: Iterable[tuple[Claim, Record | None]]) -> None:
    """Prints claims with their bounds, and the figures where they were measured."""
    table = Table("capability", "claim", "figure", "bound", "measured", "verdict", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
        column.justify = "right" if column.header in ("bound", "measured") else "left"
    for claim, made in rows:
        figures = made.figures if made else {}
        heading = (claim.capability, claim.name)
        for key, bound in claim.bounds.items():
            figure, verdict = figures.get(key), claim.verdict(key, figures)
            measured = "" if figure is None else spelled(figure)
            table.add_row(*heading, key, str(bound), measured, Text(verdict, style=_STYLE[verdict]))
            heading = ("", "")
    # A pipe has no width of its own; this one cuts no name.
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
