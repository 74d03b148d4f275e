"""Why a title is recommended to a profile; without a profile, the main parameters of the release."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.viewers import ExplainSettings
from retrieval.control.store import controls_beside
from retrieval.main_parameters import main_parameters
from retrieval.release.read import read_release
from retrieval.retriever import Retriever
from retrieval.terminal import explanation_view
from towers.data.privacy.sealed import read_store_keys


def explain(settings: ExplainSettings) -> None:
    """Prints what the current release says of itself, or of one title."""
    folder = Path(settings.artifacts)
    release = read_release(folder / "releases", store_keys=read_store_keys(settings.store_key))
    if settings.profile is None:
        print(main_parameters(release), end="")
        return
    retriever = Retriever(release, controls_beside(folder))
    best = retriever.recommend(settings.profile, country=settings.country, k=1).item_id
    for item_id in best if settings.item is None else (settings.item,):
        explained = retriever.explain(
            item_id,
            settings.profile,
            country=settings.country,
            most=settings.most,
            metadata=settings.metadata,
        )
        Console().print(explanation_view(retriever, explained))


if __name__ == "__main__":
    run(explain, ExplainSettings, "explain")
