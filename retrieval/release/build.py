"""An export and its tables → a gated, published release."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save

from retrieval.encoder import embed_catalogue, load_encoder
from retrieval.index.build import build_index, load_index
from retrieval.index.spec import Geometry, Index, IndexKind, IndexSpec
from retrieval.profiles import write_profiles
from retrieval.release.files import (
    ITEMS_FILE,
    MODEL_FILES,
    PROFILES_FILE,
    read_vectors,
)
from retrieval.release.gates import Candidate, GateSettings, check_gates
from retrieval.release.manifest import AnswerKind, Description
from retrieval.release.read import read_parts
from retrieval.release.store import ReleaseInfo, publish
from towers.data.dataset import Dataset, read_dataset
from towers.data.signals.settings import signals_of
from towers.errors import ConfigError, MissingDataError
from towers.evaluation.cut import cut
from towers.exported import VECTORS_FILE, read_context
from towers.recommender import Queries
from towers.settings import check_ranges

log = logging.getLogger(__name__)

# Query vectors an index is laid out for, at most: more change it little.
_MAX_BUILD_QUERIES = 20_000


def build_release(
    model_dir: Path,
    tables_dir: Path,
    releases_root: Path,
    index_spec: IndexSpec,
    gates: GateSettings,
    dimension: int | None = None,
) -> ReleaseInfo:
    """The release of an exported model over the tables it was trained on, published as the current one.

    model_dir: model.json, towers.safetensors, items.safetensors and training.json, whose settings become the
    context of the manifest. What is gated is what will be served: the towers as copied into the release, the
    index as read back from its file. At last the whole release is read as it will be opened.
    dimension: how many of the vectors' first numbers are searched; all where None. The release holds whole
    ones too, which the user tower reads.
    Raises MissingDataError where an input is not there, GateError where a gate fails,
    ReleaseError where publishing does; then the current release stays what it was.
    """
    check_ranges(gates, "gates")
    context = read_context(model_dir)
    dataset = read_dataset(tables_dir, signals_of(context))
    vectors, num_events = read_vectors(model_dir / VECTORS_FILE)
    log.info("export read num_items=%d dimension=%d", *vectors.shape)
    searched = vectors if dimension is None else _cut(vectors, dimension, context)

    def write(folder: Path) -> Description:
        # The export may be replaced meanwhile: from here on only what lies in the release is read.
        _copy_model(model_dir, folder)
        (folder / VECTORS_FILE).write_bytes(save({"vector": vectors, "num_events": num_events}))
        encoder = load_encoder(folder, vectors, dimension)
        candidate = Candidate(
            item_id=dataset.catalogue.ids,
            vectors=vectors,
            searched=searched,
            num_events=num_events,
            embed=lambda: embed_catalogue(folder, dataset.items),
            encode=lambda: encoder.encode(gate_queries(dataset, gates.num_queries)),
            build=lambda: saved_index(
                index_spec,
                searched,
                folder,
                lambda: encoder.encode(build_queries(dataset, gates.num_queries)),
            ),
        )
        results = check_gates(candidate, gates)
        pq.write_table(dataset.items, folder / ITEMS_FILE, compression="zstd")
        write_profiles(dataset, folder / PROFILES_FILE, encoder.profile_columns)
        description = Description(
            kind=AnswerKind.TOWERS,
            index=index_spec,
            dimension=encoder.dimension,
            num_items=len(dataset.catalogue),
            num_profiles=len(dataset.profiles),
            num_events=dataset.history.num_events,
            model_fingerprint=encoder.fingerprint,
            context=context,
            gates=results,
        )
        read_parts(folder, "candidate", description)  # what cannot be opened does not become current
        return description

    return publish(releases_root, write)


def _cut(vectors: np.ndarray, dimension: int, context: Mapping[str, Any]) -> np.ndarray:
    """What of the vectors is searched; it says so where they were not trained to be cut there."""
    if not 1 <= dimension <= vectors.shape[1]:
        raise ConfigError(f"dimension: {dimension}; expected 1 to {vectors.shape[1]}, that of the towers")
    objective = context.get("objective")
    trained = objective.get("matryoshka", []) if isinstance(objective, Mapping) else []
    if dimension not in (*trained, vectors.shape[1]):
        log.warning(
            "vectors are cut where they were not trained to be dimension=%d trained=%s; train with "
            "objective.matryoshka=[%d]",
            dimension,
            trained,
            dimension,
        )
    return cut(vectors, dimension)


def _copy_model(model_dir: Path, folder: Path) -> None:
    for name in MODEL_FILES:
        if not (model_dir / name).is_file():
            raise MissingDataError(f"{model_dir / name}: no exported towers; run scripts/train.py first")
        shutil.copyfile(model_dir / name, folder / name)


def saved_index(spec: IndexSpec, vectors: np.ndarray, folder: Path, asked: Callable[[], np.ndarray]) -> Index:
    """The index of the vectors as it is read back from its files; asked: queries, where a kind needs them."""
    build_index(spec, vectors, queries_for(spec, asked)).save(folder)
    return load_index(spec, folder, vectors)


def queries_for(spec: IndexSpec, asked: Callable[[], np.ndarray]) -> np.ndarray | None:
    """Query vectors (Q, D), each interest one; None where the kind reads none."""
    if spec.kind is not IndexKind.PARTITIONED or spec.geometry is not Geometry.QUERIES:
        return None
    query = asked()
    return query.reshape(-1, query.shape[-1])


def gate_queries(dataset: Dataset, num_queries: int) -> Queries:
    """Histories of profiles spread evenly over those that have one, each asked at its last event."""
    return _asked(dataset, _spread(np.flatnonzero(dataset.history.lengths), num_queries))


def build_queries(dataset: Dataset, num_gate_queries: int) -> Queries:
    """As `gate_queries`, of other profiles: an index is not judged by what it was laid out for.

    A service of so few profiles that the gates take them all has no others; then they are the same.
    """
    watched = np.flatnonzero(dataset.history.lengths)
    others = np.setdiff1d(watched, _spread(watched, num_gate_queries))
    return _asked(dataset, _spread(others if len(others) else watched, _MAX_BUILD_QUERIES))


def _spread(profiles: np.ndarray, num: int) -> np.ndarray:
    """At most so many of the profiles, spread evenly over them."""
    place = np.linspace(0, len(profiles) - 1, min(num, len(profiles))).astype(np.int64)
    chosen: np.ndarray = profiles[place]
    return chosen


def _asked(dataset: Dataset, chosen: np.ndarray) -> Queries:
    history = dataset.history
    time_seconds = history.time_seconds[history.offset[chosen + 1] - 1]
    known = dataset.profile_table.take(pa.array(chosen))
    return Queries(history.select(chosen), time_seconds, dataset.country[chosen], known)
