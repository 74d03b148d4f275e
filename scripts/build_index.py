"""Trained towers → a served release: embeds the catalogue, builds the index, checks it and publishes."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import PipelineSettings
from retrieval.index.curve_report import PLOT_FILE, render
from retrieval.index.operating import read_curve
from retrieval.release.build import build_release
from retrieval.release.certificate import certificate_view, read_certificate
from retrieval.release.tables import gates_table
from towers.data.privacy.sealed import read_store_keys


def build_index(settings: PipelineSettings) -> None:
    """Publishes artifacts/releases/<id> and makes it current; refused where a gate fails."""
    folder = Path(settings.artifacts)
    release = build_release(
        model_dir=folder / "model",
        tables_dir=folder / "tables",
        releases_root=folder / "releases",
        index_spec=settings.index,
        gates=settings.gates,
        dimension=settings.dimension,
        becomes_current=not settings.candidate,
        store_keys=read_store_keys(settings.store_key),
    )
    Console().print(gates_table(release.manifest.description.gates))
    if certificate := read_certificate(release.folder):
        Console().print(certificate_view(certificate))
    curve = read_curve(release.folder)
    if curve is not None:
        Console().print(render(curve))
        Console().print(f"plot: {release.folder / PLOT_FILE}")


if __name__ == "__main__":
    run(build_index, PipelineSettings, "build_index")
