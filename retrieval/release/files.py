"""The files of exports and releases by name, and the item vectors among them."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from safetensors import SafetensorError, safe_open

from retrieval.encoder import FACTORS_FILE
from retrieval.index.build import load_index
from retrieval.index.spec import Index, IndexSpec
from retrieval.index.updates import UPDATES_FILE, load_updated
from retrieval.lists import LISTS_FILE
from retrieval.release.manifest import AnswerKind
from towers.errors import IndexBuildError, IntegrityError, MissingDataError, ReleaseError
from towers.exported import (
    BACKBONE_PREFIX,
    FINGERPRINT,
    MODEL_FILE,
    QUERY_FILE,
    QUERY_WEIGHTS_FILE,
    VECTORS_FILE,
    WEIGHTS_FILE,
)

MODEL_FILES = (MODEL_FILE, WEIGHTS_FILE)
"""What the query encoder is read from; a release holds copies."""
PROFILES_FILE = "profiles.parquet"
ADDED_FILE = "items_added.safetensors"
"""Beside an index with updates: whole vectors of the rows after the build's, and events of all."""
ANSWER_FILES = {
    AnswerKind.TOWERS: (VECTORS_FILE, *MODEL_FILES),
    AnswerKind.FACTORS: (VECTORS_FILE, FACTORS_FILE),
    AnswerKind.LISTS: (LISTS_FILE,),
}
"""What each kind answers from, beside titles, profiles and the index."""


def query_files(names: Iterable[str]) -> list[str]:
    """Of the files of an export or release those that texts are read by, beside the towers.

    Both have all of them or none: the query tower's own two, and where it has a backbone that one's.
    """
    own = (QUERY_FILE, QUERY_WEIGHTS_FILE)
    return sorted(name for name in names if name in own or name.startswith(BACKBONE_PREFIX))


def read_vectors(
    path: Path, *, mapped: bool = False
) -> tuple[Float32[np.ndarray, "N D"], Int64[np.ndarray, " M"]]:
    """Item vectors and event counts of an items.safetensors; ReleaseError where it holds others.

    mapped: vectors stay in the file, each read when it is looked at; for one that nobody changes. That N and
    M are equal is not checked here: a gate counts, and so does a Release.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no exported item vectors; run scripts/train.py first")
    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
            found = {name: (each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}
            kinds = {name: (kind, len(shape)) for name, (kind, shape) in found.items()}
            if (kinds.get("vector"), kinds.get("num_events")) == (("F32", 2), ("I64", 1)):
                # A release's file stays what it is; of others they are copied out at once.
                vectors = _mapped(path, found["vector"][1]) if mapped else file.get_tensor("vector")
                return vectors, file.get_tensor("num_events")
    except SafetensorError as error:
        raise ReleaseError(f"{path}: {error}; expected a safetensors file") from error
    raise ReleaseError(f"{path}: holds {found}; expected vector float32 (N, D) and num_events int64 (N,)")


def _mapped(path: Path, shape: tuple[int, ...]) -> Float32[np.ndarray, "N D"]:
    """The tensor `vector` of a safetensors file that was found sound; what is written to it is not kept."""
    if 0 in shape:  # the system maps no empty range
        return np.empty(shape, np.float32)
    with path.open("rb") as file:
        # The file begins with the length of its description, 8 bytes, and the description.
        num_bytes = int.from_bytes(file.read(8), "little")
        first, _ = json.loads(file.read(num_bytes))["vector"]["data_offsets"]
        return np.memmap(file, "<f4", "c", 8 + num_bytes + first, shape).view(np.ndarray)


def read_index(
    spec: IndexSpec, folder: Path, vectors: Float32[np.ndarray, "N D"], base: Index | None = None
) -> Index:
    """The index of a release, as `load_index` reads it; IntegrityError where its files are not its own.

    base: the index as it was built, of a release made from another, where the caller has read it before.
    """
    try:
        if base is not None and (folder / UPDATES_FILE).is_file():
            return load_updated(folder, vectors, lambda built: base)
        return load_index(spec, folder, vectors)
    except IndexBuildError as error:
        raise IntegrityError(str(error)) from error


def vectors_model(path: Path) -> str | None:
    """The fingerprint of the model that an items.safetensors names; None where it names none."""
    with safe_open(path, "numpy") as file:
        found: str | None = (file.metadata() or {}).get(FINGERPRINT)
    return found


def read_rows(
    folder: Path, built: Float32[np.ndarray, "N D"] | None = None, *, mapped: bool = False
) -> tuple[Float32[np.ndarray, "R D"], Int64[np.ndarray, " R"]]:
    """Item vectors and event counts of all rows of a release: those of the build, and those added since.

    built: what VECTORS_FILE holds, of a release made from another, where the caller has read it before.
    mapped: for who looks at most of them once, and does not search for long, as a job.
    """
    has_added = (folder / ADDED_FILE).is_file()
    if built is None or not has_added:
        built, num_events = read_vectors(folder / VECTORS_FILE, mapped=mapped)
    if not has_added:
        return built, num_events
    added, num_events = read_vectors(folder / ADDED_FILE)
    if added.shape[1] != built.shape[1]:
        raise ReleaseError(
            f"{folder / ADDED_FILE}: vectors of {added.shape[1]} numbers; expected {built.shape[1]}, as in "
            f"{VECTORS_FILE}"
        )
    if not mapped:
        return np.concatenate([built, added]), num_events
    # Numpy asks for large pages, which searches gain by and a job does not: while others lie in memory, the
    # system takes longer to make room for them than this takes.
    whole: np.ndarray = torch.cat([torch.from_numpy(each) for each in (built, added)]).numpy()
    return whole, num_events
