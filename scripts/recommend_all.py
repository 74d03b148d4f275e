"""The best titles of every profile, as one Parquet file."""

from pathlib import Path

from conf.compose import run
from conf.schema import RecommendAllSettings
from retrieval.batch import recommend_all
from retrieval.control.store import controls_beside
from retrieval.eligibility.rules import Available
from retrieval.retriever import Retriever
from towers.data.privacy.sealed import read_store_keys


def write_recommendations(settings: RecommendAllSettings) -> None:
    """Writes what the current release answers to all of its profiles, and prints where it lies."""
    folder = Path(settings.artifacts)
    controls, store_keys = controls_beside(folder), read_store_keys(settings.store_key)
    retriever = Retriever.open(folder / "releases", controls=controls, store_keys=store_keys)
    moment = retriever.as_of_seconds if settings.time_seconds is None else settings.time_seconds
    path = Path(settings.output) if settings.output else folder / "recommendations.parquet"
    report = recommend_all(
        retriever,
        path,
        settings.k,
        time_seconds=settings.time_seconds,
        rule_of=(lambda country: Available(country, moment)) if settings.available else None,
    )
    print(f"{path}: {report.num_profiles:,} profiles, {report.num_degraded:,} of them tagged")


if __name__ == "__main__":
    run(write_recommendations, RecommendAllSettings, "recommend_all")
