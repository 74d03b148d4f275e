"""Recommendations beside history, similar titles and search, as terminal tables."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import RecommendSettings
from retrieval.control.store import controls_beside
from retrieval.retriever import Retriever
from retrieval.stages import timed
from retrieval.terminal import profile_view, sample, search_view, similar_view
from towers.data.privacy.sealed import read_store_keys


def recommend(settings: RecommendSettings) -> None:
    """Prints what the current release answers: to what is asked, or to a sample of every kind of question."""
    folder = Path(settings.artifacts)
    controls, store_keys = controls_beside(folder), read_store_keys(settings.store_key)
    retriever = Retriever.open(folder / "releases", controls=controls, store_keys=store_keys)
    asked = {settings.profile, settings.similar, settings.search} != {None}
    profiles, similar, search = (
        ([] if settings.profile is None else [settings.profile], settings.similar, settings.search)
        if asked
        else sample(retriever)
    )
    console = Console()
    for profile in profiles:
        with timed() as times:
            ranking = retriever.recommend(profile, country=settings.country, k=settings.k)
        console.print(profile_view(retriever, profile, ranking, times))
    if similar is not None:
        console.print(
            similar_view(
                retriever, similar, retriever.similar(similar, settings.k, profile_id=settings.profile)
            )
        )
    if search is not None:
        found = retriever.search(search, profile_id=settings.profile, country=settings.country, k=settings.k)
        console.print(search_view(retriever, search, found, settings.profile))


if __name__ == "__main__":
    run(recommend, RecommendSettings, "recommend")
