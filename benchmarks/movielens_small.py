"""Claim `movielens-small`: the served Retriever over popularity and item-kNN on ml-latest-small."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measurement import Measurement
from benchmarks.stages import median_if_all, read_n10, run_script, served_over
from towers.data.sources.movielens import MovieLensSettings
from towers.errors import MissingDataError

SEEDS = (0, 1, 2)
FOLDERS = {"root": "ml-latest-small", "tmdb": "tmdb-movies", "people": "dbpedia-movie-people"}
"""Which data set fills which setting of `data=movielens`."""


def measure() -> Measurement:
    """Medians over three seeds of N@10 ratios; leave-one-out, full catalogue, cast and director joined."""
    data = data_overrides()
    n10_of_seed = [_n10(seed, data) for seed in SEEDS]
    return Measurement(
        figures={
            "n10_over_popularity": median_if_all([served_over(n10, "popular") for n10 in n10_of_seed]),
            "n10_over_item_knn": median_if_all([served_over(n10, "item_knn") for n10 in n10_of_seed]),
        },
        data=" + ".join(FOLDERS.values()) + ", leave-one-out",
        seeds=SEEDS,
        details={"n10": n10_of_seed},
    )


def _n10(seed: int, data: Sequence[str]) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        artifacts = Path(folder, "movielens")
        run_script("train", *data, f"seed={seed}", f"artifacts={artifacts}")
        run_script("build_index", f"artifacts={artifacts}")
        run_script("evaluate", f"artifacts={artifacts}")
        return read_n10(artifacts)


def data_overrides() -> list[str]:
    """What tells a script of these folders; raises as `data_folders` does."""
    return ["data=movielens", *(f"data.{key}={path}" for key, path in data_folders().items())]


def movielens_settings() -> MovieLensSettings:
    """The same as settings of the source; raises as `data_folders` does."""
    folders = data_folders()
    return MovieLensSettings(str(folders["root"]), tmdb=str(folders["tmdb"]), people=str(folders["people"]))


def data_folders() -> dict[str, Path]:
    """The folder of each setting; MissingDataError where $TOWERS_DATA has not all of them."""
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
    return paths
