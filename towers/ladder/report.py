"""A climb as a reader sees it: a terminal table, and a page with its plots."""

import html
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.text import Text

from towers.evaluation.tables import Tables, estimate, number
from towers.folders import replace_file
from towers.ladder.climb import Climbed, VariantRow
from towers.ladder.measured import VALUE_K, Row
from towers.ladder.plots import PHASES, draw_curves, draw_pareto, plot
from towers.ladder.verdict import LEVEL, Judged

PAGE_FILE = "ladder.html"

_NOTHING = "–"
_COLUMNS = (
    "rung", f"N@{VALUE_K}", f"R@{VALUE_K}", f"cov@{VALUE_K}", f"lead [{100 * LEVEL:.0f} %]", "over", "fit s",
    "peak MiB", "size MiB", "p50 ms", "p99 ms", "a month", "verdict",
)  # fmt: skip
_VARIANT_COLUMNS = (
    "variant", "of", f"N@{VALUE_K}", "difference [95 %]", "p, Holm", "fit s", "what differs",
)  # fmt: skip
_VARIANT_FOOTNOTE = (
    "difference: of N@{k} from the rung named beside it, by a paired bootstrap over the same test questions, "
    "each by itself; p: of a paired sign-flip test, by Holm's correction over the {num} compared"
)
_FOOTNOTE = (
    "lead: of N@{k} over the rung named beside it, by a paired bootstrap over the same test questions; peak: "
    "of the whole process that fitted it; p50, p99: of one query on one thread; a month: fitting, answering "
    "and keeping, at these prices: {prices}"
)


def render(climbed: Climbed, title: str) -> Group:
    """The climb for a terminal: a row per rung, and what each column means."""
    rows = [
        [str(int(row.name.phase)), *_cells(row, judged)]
        for row, judged in zip(climbed.rows, climbed.judged, strict=True)
    ]
    phases = ", ".join(f"{phase} {words}" for phase, words in PHASES.items())
    return Group(
        Text(title),
        Tables(["phase", *_COLUMNS], rows, num_names=2),
        Text(f"\nphases: {phases}", style="dim"),
        Text(_FOOTNOTE.format(k=VALUE_K, prices=_prices(climbed)), style="dim"),
        Text(f"stands: {climbed.promoted or 'none'}", style="bold"),
        *(_variants(climbed) if climbed.variants else ()),
    )


def _variants(climbed: Climbed) -> tuple[Text | Tables, ...]:
    rows = list(map(_variant_cells, climbed.variants))
    width = max(len(row[0]) for row in rows)
    return (
        Text("\nvariants, each against its rung"),
        Tables(list(_VARIANT_COLUMNS[:-1]), [row[:-1] for row in rows], num_names=2),
        # Lists of features are too wide for a column.
        Text("\n" + "\n".join(f"{row[0]:{width}} {row[-1]}" for row in rows)),
        Text("\n" + _variant_footnote(climbed), style="dim"),
    )


def write_page(climbed: Climbed, title: str, folder: Path) -> Path:
    """Writes the climb as one HTML file that needs nothing else, and gives its path; its plots as PNG too."""
    pareto = "Quality over cost of every rung; the table has its numbers"
    curves = f"N@{VALUE_K} of rungs that learned from a part of the profiles"
    rows = []
    phase = 0
    for row, judged in zip(climbed.rows, climbed.judged, strict=True):
        if row.name.phase != phase:
            phase = row.name.phase
            rows.append(
                f'<tr class="phase"><th colspan="{len(_COLUMNS)}">{phase} · {PHASES[phase]}</th></tr>'
            )
        rows.append(_html_row(_cells(row, judged), judged.verdict.name.lower()))
    page = _PAGE.format(
        title=html.escape(title),
        promoted=html.escape(climbed.promoted or "none"),
        table=_html_table(_COLUMNS, rows),
        footnote=html.escape(_FOOTNOTE.format(k=VALUE_K, prices=_prices(climbed))),
        plot=plot(climbed, draw_pareto, pareto, folder / "pareto.png"),
        curves=plot(climbed, draw_curves, curves, folder / "curves.png") if climbed.curves else "",
        variants=_html_variants(climbed) if climbed.variants else "",
    )
    path = folder / PAGE_FILE
    replace_file(path, page)
    return path


def _html_variants(climbed: Climbed) -> str:
    rows = [
        _html_row(_variant_cells(each), "compared" if each.row.failure is None else "failed")
        for each in climbed.variants
    ]
    return (
        f"<h2>Variants</h2>\n{_html_table(_VARIANT_COLUMNS, rows)}\n"
        f'<p class="note">{html.escape(_variant_footnote(climbed))}.</p>'
    )


def _html_row(row: Sequence[str], mark: str) -> str:
    name, *rest = map(html.escape, row)
    cells = "".join(f"<td>{cell}</td>" for cell in rest)
    return f'<tr class="{mark}"><th scope="row">{name}</th>{cells}</tr>'


def _html_table(columns: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "\n".join(rows)
    return (
        f'<div style="overflow-x: auto"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _variant_cells(each: VariantRow) -> list[str]:
    variant, row, compared = each.variant, each.row, each.compared
    names = [variant.name, variant.rung.value]
    if row.measured is None or row.evaluation is None:
        return [*names, *[_NOTHING] * 4, f"{variant.differs}; failed: {row.failure}"]
    lead = compared.difference
    return [
        *names,
        number(row.evaluation[f"ndcg@{VALUE_K}"]),
        _NOTHING if lead is None else estimate(lead.difference, lead.low, lead.high),
        number(compared.p_value, ".3f") if compared.p_value is None or compared.p_value >= 0.001 else "<.001",
        f"{row.measured.spent.fit_seconds:.1f}",
        variant.differs,
    ]


def _variant_footnote(climbed: Climbed) -> str:
    num = sum(each.compared.p_value is not None for each in climbed.variants)
    return _VARIANT_FOOTNOTE.format(k=VALUE_K, num=num)


def _cells(row: Row, judged: Judged) -> list[str]:
    if row.measured is None or row.evaluation is None:
        return [row.name.value, *[_NOTHING] * (len(_COLUMNS) - 2), f"{judged.verdict.value}: {row.failure}"]
    spent, quality = row.measured.spent, row.evaluation
    lead = judged.lead
    return [
        row.name.value,
        _short(quality[f"ndcg@{VALUE_K}"]),
        _short(quality[f"recall@{VALUE_K}"]),
        f"{quality[f'coverage@{VALUE_K}']:.1%}",
        _NOTHING if lead is None else f"{lead.difference:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]",
        judged.below or _NOTHING,
        f"{spent.fit_seconds:.1f}",
        f"{spent.peak_bytes / 2**20:,.0f}",
        f"{spent.size_bytes / 2**20:,.1f}",
        f"{1000 * spent.p50_seconds:.2f}",
        f"{1000 * spent.p99_seconds:.2f}",
        _NOTHING if judged.cost_per_month is None else f"{judged.cost_per_month:,.2f}",
        judged.verdict.value,
    ]


def _prices(climbed: Climbed) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:,g}" for name, value in asdict(climbed.prices).items())


def _short(number: float) -> str:
    return f"{number:.4f}".removeprefix("0")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The ladder: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; }}
body {{ max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px; }}
th, td {{ padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #eee; }}
th:first-child, td:last-child {{ text-align: left; }}
tr.phase th {{ background: #f5f5f5; text-align: left; }}
tr.promoted td:last-child, tr.first td:last-child {{ color: #00664d; font-weight: 600; }}
tr.failed td:last-child {{ color: #a00; }}
img {{ max-width: 100%; }}
p.note {{ color: #555; font-size: 13px; }}
</style>
</head>
<body>
<h1>The ladder</h1>
<p>{title}. The rung that stands: <strong>{promoted}</strong>.</p>
{plot}
{table}
<p class="note">{footnote}.</p>
{curves}
{variants}
</body>
</html>
"""
