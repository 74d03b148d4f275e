"""Claim `movielens-small`: the served Retriever over popularity and item-kNN on ml-latest-small."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measurement import Measurement
from benchmarks.stages import median_if_all, n10_ratio, run_script
from towers.errors import MissingDataError

SEEDS = (0, 1, 2)
FOLDERS = {"root": "ml-latest-small", "tmdb": "tmdb-movies", "people": "dbpedia-movie-people"}
"""Which data set fills which setting of `data=movielens`."""


def measure() -> Measurement:
    """Medians over three seeds of N@10 ratios; leave-one-out, full catalogue, cast and director joined."""
    data = _data_overrides()
    over_popularity, over_item_knn = [], []
    for seed in SEEDS:
        with TemporaryDirectory() as folder:
            artifacts = Path(folder, "movielens")
            run_script("train", *data, f"seed={seed}", f"artifacts={artifacts}")
            run_script("build_index", f"artifacts={artifacts}")
            run_script("evaluate", f"artifacts={artifacts}")
            over_popularity.append(n10_ratio(artifacts, over="popular"))
            over_item_knn.append(n10_ratio(artifacts, over="item_knn"))
    return Measurement(
        figures={
            "n10_over_popularity": median_if_all(over_popularity),
            "n10_over_item_knn": median_if_all(over_item_knn),
        },
        data=" + ".join(FOLDERS.values()) + ", leave-one-out",
        seeds=SEEDS,
        details={"n10_over_popularity": over_popularity, "n10_over_item_knn": over_item_knn},
    )


def _data_overrides() -> list[str]:
    folder = os.environ.get("TOWERS_DATA")
    if not folder:
        raise MissingDataError(
            "TOWERS_DATA is not set; expected the folder that holds " + ", ".join(FOLDERS.values())
        )
    paths = {key: Path(folder, name).resolve() for key, name in FOLDERS.items()}
    for path in paths.values():
        if not path.is_dir():
            raise MissingDataError(
                f"{path}: no such folder; TOWERS_DATA must hold {', '.join(FOLDERS.values())}"
            )
    return ["data=movielens", *(f"data.{key}={path}" for key, path in paths.items())]
