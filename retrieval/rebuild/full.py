"""A release built anew by towers that were trained before: an export of them over other tables."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from retrieval.index.spec import IndexSpec
from retrieval.rebuild.changes import Changes
from retrieval.rebuild.delta import embedded
from retrieval.release.build import build_release
from retrieval.release.files import MODEL_FILES, query_files, read_rows
from retrieval.release.gates import GateSettings
from retrieval.release.linked import link
from retrieval.release.store import ReleaseInfo
from towers.data.dataset import Dataset
from towers.data.privacy.sealed import StoreKeys
from towers.data.split import split, split_of
from towers.exported import FINGERPRINT, TRAINING_FILE, VECTORS_FILE
from towers.folders import replace_folder
from towers.nets.two_tower import fingerprint, load_towers

log = logging.getLogger(__name__)

_MADE_FILE = "made_of.json"
"""In the export of a rebuild: what it was made of, so that one that was stopped goes on with it."""


def export_anew(
    folder: Path,
    model: Path,
    context: Mapping[str, Any],
    dataset: Dataset,
    known: tuple[ReleaseInfo, Changes] | None = None,
) -> None:
    """An export of towers over other tables than they learned from, with a vector for every title.

    model: the folder of an export or of a release. context: the settings that they were trained under.
    known: a release of the same towers and what changed since: its vectors are taken, and new and changed
    titles alone are embedded. What stands in the folder already, made of the same, is taken as it is.
    """
    num_events = split(dataset, split_of(context)).num_watches
    made_of = {
        "towers": fingerprint(model),
        "items": _digest(dataset.items),
        "num_events": hashlib.sha256(num_events.tobytes()).hexdigest(),
        "vectors_of": None if known is None else known[0].release_id,
    }
    if _made_of(folder) == made_of:
        log.info("export taken up folder=%s", folder)
        return

    def write(aside: Path) -> None:
        for name in (*MODEL_FILES, *query_files(path.name for path in model.iterdir())):
            link(model / name, aside / name)
        (aside / TRAINING_FILE).write_text(json.dumps(dict(context), indent=1) + "\n", encoding="utf-8")
        towers = load_towers(aside)
        if known is None:
            vectors = towers.embed(towers.encoder.encode(dataset.items))
        else:
            live, changes = known
            asked = changes.added | changes.changed
            vectors = np.empty((len(asked), towers.settings.dim), np.float32)
            vectors[~asked] = read_rows(live.folder)[0][changes.live_row[~asked]]
            vectors[asked] = embedded(towers, dataset.titles, asked)
        (aside / VECTORS_FILE).write_bytes(
            save({"vector": vectors, "num_events": num_events}, metadata={FINGERPRINT: fingerprint(aside)})
        )
        (aside / _MADE_FILE).write_text(json.dumps(made_of) + "\n", encoding="utf-8")

    replace_folder(folder, write)


def build_anew(
    folder: Path,
    tables: Path,
    root: Path,
    index: IndexSpec,
    gates: GateSettings,
    dimension: int | None,
    store_keys: StoreKeys | None = None,
) -> ReleaseInfo:
    """The release of such an export, published; the export goes when it is."""
    release = build_release(folder, tables, root, index, gates, dimension, store_keys=store_keys)
    shutil.rmtree(folder)
    return release


def _digest(items: pa.Table) -> str:
    """SHA-256 of a table's columns, as they lie in memory."""
    digest = hashlib.sha256()
    with pa.ipc.new_stream(_Hashed(digest), items.schema) as stream:
        stream.write_table(items.combine_chunks())
    return digest.hexdigest()


class _Hashed:
    """A file that keeps nothing of what is written but its hash."""

    closed = False

    def __init__(self, digest: "hashlib._Hash") -> None:
        self._digest = digest

    def write(self, data: pa.Buffer | bytes) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def _made_of(folder: Path) -> object:
    try:
        return json.loads((folder / _MADE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
