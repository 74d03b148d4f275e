"""Releases for people: tables that fit a terminal of 100 columns."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from retrieval.release.compare import Change, Comparison
from retrieval.release.manifest import GateResult, Manifest
from retrieval.release.operations import Standing
from retrieval.release.remote.push import Transfer

_MOST_NAMED = 5


def releases_table(releases: Iterable[Standing]) -> Table:
    """The releases of a root, one a line."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("release", "", "created", "kind", "index", "titles", "recall", "size"):
        numeric = name in ("titles", "recall", "size")
        shown.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for one in releases:
        marks = " ".join(["current"] * one.is_current + ["pinned"] * one.is_pinned)
        if one.manifest is None:
            shown.add_row(one.release_id, marks, Text("damaged", style="bold red"))
            continue
        about = one.manifest.description
        recall = next((gate.value for gate in about.gates if gate.name == "recall"), None)
        shown.add_row(
            one.release_id,
            Text(marks, style="bold green" if one.is_current else ""),
            one.manifest.created[:16].replace("T", " "),
            about.kind.value,
            "" if about.index is None else about.index.kind.value,
            f"{about.num_items:,}",
            "" if recall is None else f"{recall:.4f}",
            _bytes(sum(entry.size_bytes for entry in one.manifest.files.values())),
        )
    return shown


def removed_line(removed: Iterable[str], *, dry_run: bool = False) -> str:
    """What was cleared away, or would be."""
    return f"{'would remove' if dry_run else 'removed'}: {', '.join(removed) or 'none'}"


def transfer_line(transfer: Transfer, way: str, where: str) -> str:
    """What was pushed or pulled; way: such as "pushed to"."""
    stands = "current" if transfer.is_current else "beside the current one"
    sent, shared = _bytes(transfer.num_bytes), _bytes(transfer.shared_bytes)
    return f"{transfer.release_id} {way} {where}: {stands}; {sent} sent, {shared} were there"


def faults(releases: Iterable[Standing]) -> list[str]:
    """What is wrong with those that are damaged, a line each."""
    return [one.fault for one in releases if one.fault is not None]


def release_view(manifest: Manifest) -> RenderableType:
    """What one release says of itself: counts, gates, files."""
    about = manifest.description
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("release", manifest.release_id),
        ("parent", manifest.parent or "none"),
        ("created", manifest.created),
        ("kind", about.kind.value),
        ("index", "" if about.index is None else about.index.kind.value),
        ("dimension", "" if about.dimension is None else str(about.dimension)),
        ("titles", f"{about.num_items:,}"),
        ("profiles", f"{about.num_profiles:,}"),
        ("events", f"{about.num_events:,}"),
        ("model", about.model_fingerprint[:16]),
    ):
        facts.add_row(Text(name, style="dim"), value)
    files = Table("file", "size", "SHA-256", "sealed under", box=None, pad_edge=False, header_style="dim")
    for name, entry in sorted(manifest.files.items()):
        size, key = Text(_bytes(entry.size_bytes), justify="right"), entry.sealed and entry.sealed.key
        files.add_row(name, size, entry.sha256[:16], key or "")
    return Group(facts, Text(""), gates_table(about.gates), Text(""), files)


def gates_table(gates: Iterable[GateResult]) -> Table:
    """What was checked, one a line; of what was overridden also why."""
    shown = Table("gate", "measured", "bound", "", box=None, pad_edge=False, header_style="dim")
    for gate in gates:
        measured = "–" if gate.value is None else f"{gate.value:.6g}"
        said = "nothing to ask" if gate.passed and gate.value is None else gate.verdict
        verdict = Text(said, style="" if gate.passed else "bold yellow")
        if gate.override is not None:
            verdict.append(f": {gate.override}", style="not bold")
        shown.add_row(gate.name, measured, f"{gate.sense} {gate.bound:g}", verdict)
    return shown


def comparison_view(found: Comparison) -> RenderableType:
    """What changes from one release to another."""
    lines: list[RenderableType] = [Text(f"{found.before} → {found.after}", style="bold")]
    if found.overlap is None:
        lines.append(Text("no profile has a history in both: the answers are not compared", style="yellow"))
    else:
        lines.append(
            Text(
                f"{found.overlap:.1%} of the {found.k} titles that a profile is shown stay the same, "
                f"over {found.num_profiles:,} profiles"
            )
        )
    for name, ids in (("new", found.items_in), ("gone", found.items_out)):
        if ids:
            rest = f" and {len(ids) - _MOST_NAMED:,} more" if len(ids) > _MOST_NAMED else ""
            lines.append(Text(f"{len(ids):,} titles {name}: {', '.join(ids[:_MOST_NAMED])}{rest}"))
    changes = Table("", found.before, found.after, box=None, pad_edge=False, header_style="dim")
    for change in (*found.figures, *found.settings):
        changes.add_row(change.name, *(_cell(change, value) for value in (change.before, change.after)))
    return Group(*lines, changes) if changes.row_count else Group(*lines)


def _cell(change: Change, value: int | float | str | None) -> str:
    if change.name == "size_bytes" and isinstance(value, int):
        return _bytes(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _bytes(size: int) -> str:
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, 3)
    return f"{size / (1 << (10 * power)):.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"
