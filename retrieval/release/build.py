"""An export and its tables → a gated, published release."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from retrieval.encoder import embed_catalogue, load_encoder
from retrieval.index.spec import IndexSpec
from retrieval.profiles import write_profiles
from retrieval.release.certificate import write_certificate
from retrieval.release.digests import digests, key_beside, write_digests
from retrieval.release.files import (
    MODEL_FILES,
    PROFILES_FILE,
    query_files,
    read_vectors,
    vectors_model,
)
from retrieval.release.gates import Candidate, GateSettings, check_gates, require
from retrieval.release.manifest import AnswerKind, Description
from retrieval.release.read import read_parts
from retrieval.release.saved_index import SavedIndex, build_queries, gate_queries, new_queries
from retrieval.release.served_gates import (
    Placed,
    held_out_questions,
    live_release,
    promised,
    served_gates,
    trained_quality,
)
from retrieval.release.store import ReleaseInfo, publish
from retrieval.release.title_gates import titled
from retrieval.release.titles import ITEMS_FILE, write_titles
from towers.data.dataset import read_dataset
from towers.data.privacy.sealed import StoreKeys
from towers.data.signals.settings import signals_of
from towers.errors import ConfigError, MissingDataError, SkewError
from towers.evaluation.cut import cut
from towers.exported import FINGERPRINT, VECTORS_FILE, read_context
from towers.settings import check_ranges

log = logging.getLogger(__name__)


def build_release(
    model_dir: Path,
    tables_dir: Path,
    releases_root: Path,
    index_spec: IndexSpec,
    gates: GateSettings,
    dimension: int | None = None,
    *,
    becomes_current: bool = True,
    store_keys: StoreKeys | None = None,
) -> ReleaseInfo:
    """The release of an exported model over the tables it was trained on, published as the current one.

    becomes_current: False leaves the live one current, for a canary to decide. store_keys: the newest seals
    the profiles, and the live release may be sealed under any; without keys they lie in clear.

    model_dir: model.json, towers.safetensors, items.safetensors and training.json, whose settings become the
    context of the manifest; and query.json with query.safetensors, where a query tower was trained, and the
    files of its backbone.
    What is gated is what will be served: the towers as copied into the release, the index as read back from
    its file. At last the whole release is read as it will be opened.
    dimension: how many of the vectors' first numbers are searched; all where None. The release holds whole
    ones too, which the user tower reads.
    Raises MissingDataError where an input is not there, SkewError where vectors and towers are not of one
    export, StoreKeyError where the live release is sealed under a key that was not given, GateError where a
    gate fails, ReleaseError where publishing does; then the current release stays what it was.
    """
    check_ranges(gates, "gates")
    context = read_context(model_dir)
    dataset = read_dataset(tables_dir, signals_of(context))
    vectors, num_events = read_vectors(model_dir / VECTORS_FILE)
    made_by = vectors_model(model_dir / VECTORS_FILE)
    log.info("export read num_items=%d dimension=%d", *vectors.shape)
    searched = vectors if dimension is None else _cut(vectors, dimension, context)

    def write(folder: Path) -> Description:
        # The export may be replaced meanwhile: from here on only what lies in the release is read.
        _copy_model(model_dir, folder)
        encoder = load_encoder(folder, vectors, dimension)
        if made_by is not None and made_by != encoder.fingerprint:
            raise SkewError(
                f"{model_dir / VECTORS_FILE}: vectors of the model {made_by[:12]} beside the towers "
                f"{encoder.fingerprint[:12]}; expected those of the same export: run scripts/train.py again"
            )
        arrays = {"vector": vectors, "num_events": num_events}
        (folder / VECTORS_FILE).write_bytes(save(arrays, metadata={FINGERPRINT: encoder.fingerprint}))
        index = SavedIndex(
            index_spec, searched, folder, lambda: encoder.encode(build_queries(dataset, gates.num_queries))
        )
        asked = gate_queries(dataset, gates.num_queries)
        candidate = Candidate(
            item_id=dataset.catalogue.column,
            vectors=vectors,
            searched=searched,
            num_events=num_events,
            embed=lambda: embed_catalogue(folder, dataset.items),
            encode=lambda: encoder.encode(asked),
            build=index,
            length=asked.history.lengths,
            encode_new=lambda: encoder.encode(new_queries(dataset, gates.num_queries)),
            keep=lambda certificate: write_certificate(certificate, folder),
            is_unit=True,
        )
        results = check_gates(candidate, gates)
        write_titles(folder, dataset.items)
        write_profiles(dataset, folder / PROFILES_FILE, encoder.profile_columns, store_keys=store_keys)
        description = Description(
            kind=AnswerKind.TOWERS,
            index=index.spec,
            dimension=encoder.dimension,
            num_items=len(dataset.catalogue),
            num_profiles=len(dataset.profiles),
            num_events=dataset.history.num_events,
            model_fingerprint=encoder.fingerprint,
            context=context,
            gates=results,
        )
        # What cannot be opened does not become current.
        opened = Placed(read_parts(folder, folder.name, description, store_keys), folder)
        key = key_beside(folder / ITEMS_FILE)
        write_digests(folder, digests(opened.release.catalogue.table, key))
        promise = promised(dataset, context, tables_dir, dimension)
        as_trained = trained_quality(opened.release, promise, dataset.catalogue, gates.min_trained_quality)
        questions = held_out_questions(dataset, context, gates)
        live = live_release(releases_root, store_keys)
        of_titles = titled(opened.release, None if live is None else live.release, dataset, gates)
        served = served_gates(opened, live, questions, gates, of_titles)
        return replace(description, gates=require([*results, as_trained, *served], gates))

    return publish(releases_root, write, becomes_current=becomes_current)


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
    for name in query_files(path.name for path in model_dir.iterdir()):
        shutil.copyfile(model_dir / name, folder / name)
