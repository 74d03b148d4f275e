"""A verified release → what a Retriever answers from."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from retrieval.catalogue import Catalogue
from retrieval.encoder import load_encoder
from retrieval.index.build import load_index
from retrieval.index.spec import Index
from retrieval.profiles import ProfileHistories, read_profiles
from retrieval.release.files import ITEMS_FILE, MODEL_FILES, PROFILES_FILE, read_vectors
from retrieval.release.manifest import MANIFEST_FILE, Description
from retrieval.release.store import open_release
from towers.data.schema import ITEMS
from towers.errors import IntegrityError, ReleaseError
from towers.exported import VECTORS_FILE
from towers.recommender import Queries

log = logging.getLogger(__name__)

_REQUIRED = (ITEMS_FILE, VECTORS_FILE, PROFILES_FILE, *MODEL_FILES)


@runtime_checkable
class Encoder(Protocol):
    """Queries → vectors, as `retrieval.encoder.QueryEncoder` gives them."""

    dimension: int
    fingerprint: str
    profile_columns: tuple[str, ...]

    def encode(self, queries: Queries) -> Float32[np.ndarray, "Q D"]:
        """One vector per query; an empty history is answered too."""
        ...


@dataclass(frozen=True, slots=True)
class Release:
    """One release in memory: its parts belong together.

    vectors: (N, D). num_events: (N,), train events of each item, its popularity. context: the settings the
    towers were trained under, as the manifest has them.
    """

    release_id: str
    catalogue: Catalogue
    vectors: Float32[np.ndarray, "N D"]
    num_events: Int64[np.ndarray, " N"]
    index: Index
    encoder: Encoder
    profiles: ProfileHistories
    context: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = (len(self.catalogue), len(self.vectors), len(self.num_events), self.index.size)
        if len(set(counts)) != 1:
            raise ReleaseError(
                f"release {self.release_id}: {counts[0]} titles, {counts[1]} vectors, {counts[2]} event "
                f"counts and {counts[3]} vectors in the index; expected equal counts"
            )
        widths = (self.vectors.shape[1], self.index.dimension, self.encoder.dimension)
        if len(set(widths)) != 1:
            raise ReleaseError(
                f"release {self.release_id}: vectors, index and encoder have dimensions {widths}; "
                "expected one"
            )


def read_release(path: Path) -> Release:
    """The current release of a root, or the release in this folder, verified before anything is parsed.

    Raises ReleaseError where there is none, IntegrityError where a file is not the one published.
    """
    start = time.perf_counter()
    info = open_release(path)
    for name in _REQUIRED:
        if name not in info.manifest.files:
            raise IntegrityError(
                f"{info.folder / MANIFEST_FILE}: does not name {name}; expected {', '.join(_REQUIRED)}"
            )
    release = read_parts(info.folder, info.release_id, info.manifest.description)
    log.info(
        "release opened id=%s num_items=%d num_profiles=%d index=%s seconds=%.2f",
        release.release_id,
        len(release.catalogue),
        len(release.profiles.profiles),
        info.manifest.description.index.kind,
        time.perf_counter() - start,
    )
    return release


def read_parts(folder: Path, release_id: str, about: Description) -> Release:
    """The release whose files lie in this folder; they are taken as they are, not verified.

    Raises IntegrityError where towers, titles or profiles are not those of the description.
    """
    try:
        items = pq.read_table(folder / ITEMS_FILE).select(ITEMS.names).cast(ITEMS)
    except (FileNotFoundError, pa.ArrowInvalid, KeyError) as error:
        raise ReleaseError(f"{folder / ITEMS_FILE}: {error}; expected an items table") from error
    catalogue = Catalogue(items)
    vectors, num_events = read_vectors(folder / VECTORS_FILE)
    release = Release(
        release_id=release_id,
        catalogue=catalogue,
        vectors=vectors,
        num_events=num_events,
        index=load_index(about.index, folder),
        encoder=load_encoder(folder, vectors),
        profiles=read_profiles(folder / PROFILES_FILE, catalogue.vocabulary),
        context=about.context,
    )
    _check_against_description(release, about, folder)
    return release


def _check_against_description(release: Release, about: Description, folder: Path) -> None:
    found = {
        "model_fingerprint": release.encoder.fingerprint,
        "dimension": release.encoder.dimension,
        "items": len(release.catalogue),
        "profiles": len(release.profiles.profiles),
        "columns of profiles": release.profiles.columns,
    }
    expected = {
        "model_fingerprint": about.model_fingerprint,
        "dimension": about.dimension,
        "items": about.num_items,
        "profiles": about.num_profiles,
        "columns of profiles": release.encoder.profile_columns,
    }
    for name, value in found.items():
        if value != expected[name]:
            raise IntegrityError(
                f"{folder}: {name} is {value!r}; manifest and towers expect {expected[name]!r}"
            )
