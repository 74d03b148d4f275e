"""A look at the live release, the tables and the towers that stand: all that a plan rests on."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from retrieval.encoder import LoadedTowers, loaded_towers
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.index.updates import read_counts
from retrieval.rebuild.changes import Changes, changes_of
from retrieval.rebuild.delta import embedded, has_updates, whole_rows
from retrieval.rebuild.due import Retrain, Signs, cut_off, reasons_to_retrain
from retrieval.rebuild.live_titles import live_titles
from retrieval.rebuild.plan import Facts
from retrieval.release.files import MODEL_FILES, PROFILES_FILE
from retrieval.release.manifest import AnswerKind, Description
from retrieval.release.read import Known
from retrieval.release.served_gates import Placed, placed
from retrieval.release.store import ReleaseInfo, current, open_release, release_ids, release_of
from retrieval.release.titles import ITEMS_FILE, drawn_titles
from retrieval.release.verify import Verify, verified
from towers.data.dataset import Dataset, read_dataset
from towers.data.order import spread
from towers.data.privacy.sealed import StoreKeys
from towers.data.signals.settings import signals_of
from towers.data.split import split_of
from towers.data.title_groups import same_rows
from towers.errors import ReleaseError, SchemaError
from towers.exported import TRAINING_FILE, read_context
from towers.nets.two_tower import TwoTower, fingerprint, load_towers

# Titles that are embedded again to see whether the towers still give the vectors of the release.
_NUM_SAMPLED = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What the release is to be, beside the tables.

    index, dimension: as `build_release` takes them. max_parity_error: see `GateSettings`. retrain, signs:
    when towers are trained. now_seconds: the moment of the rebuild. verify: how much of the live release is
    hashed. store_keys: those that its profiles may be sealed under; the newest seals what is published.
    """

    index: IndexSpec
    dimension: int | None
    max_parity_error: float
    retrain: Retrain
    signs: Signs
    now_seconds: int
    verify: Verify = Verify.FULL
    store_keys: StoreKeys | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found. live, dataset, changes: None where nothing is published yet.

    opened: the live release; None where its parts do not fit each other, too.

    model, context: the towers to embed with, and the settings that they were trained under. dimension: width
    of their vectors. notes: what an operator should know beside the plan.
    """

    facts: Facts
    live: ReleaseInfo | None = None
    opened: Placed | None = None
    dataset: Dataset | None = None
    changes: Changes | None = None
    model: Path | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    dimension: int = 0
    notes: tuple[str, ...] = ()


def survey(artifacts: Path, tables: Path, asked: Asked) -> Survey:
    """Looks at artifacts/releases, artifacts/model and the newer tables.

    Raises IntegrityError where the live release is damaged, StoreKeyError where it is sealed under a key that
    was not given, ReleaseError where it is not one of towers, and SchemaError where the tables have none of
    its titles.
    """
    root, model = artifacts / "releases", artifacts / "model"
    if current(root) is None:
        return Survey(Facts(is_first=True))
    live = open_release(root, Verify.TRUSTED)  # what it says of itself: nothing more is parsed yet
    about = live.manifest.description
    if about.kind is not AnswerKind.TOWERS or about.index is None:
        raise ReleaseError(
            f"{live.folder}: kind is {about.kind}; expected towers, which alone embed new titles: run "
            f"scripts/ladder.py to publish another of this kind"
        )
    other = _has_model(model) and fingerprint(model) not in set(_fingerprints(root))
    towers_folder = model if other else live.folder
    context = read_context(model) if other else about.context
    # Bytes to be hashed, and columns to be decoded beside them: neither holds Python's lock for long.
    with ThreadPoolExecutor(1, thread_name_prefix="live") as aside:
        loading = aside.submit(_verified_towers, live.folder, asked.verify)
        dataset = read_dataset(tables, signals_of(context), titles_in_part=True)
        own, titles = loading.result(), live_titles(live)
        known = Known(titles.catalogue, towers=own, ids=titles.ids, for_a_job=True)
        opening = aside.submit(placed, live, asked.store_keys, known)
        same = same_rows(live.folder / ITEMS_FILE, tables / "items.parquet")
        changes = changes_of(live, own.towers, dataset, titles, same, asked.store_keys)
        dataset.titles.licences()  # a delta asks for them, and this thread would wait
        opened = opening.result()
    towers = own.towers
    if changes.num_removed == changes.num_live:
        raise SchemaError(
            f"{tables}: {len(changes.live_row):,} titles, and none of the {changes.num_live:,} of "
            f"{live.release_id} (“{about.context.get('title')}”); expected newer logs of the same service: "
            "give data=… as scripts/train.py was given it"
        )
    trained, notes = _trained_seconds(artifacts, about, asked)
    retrain, kept = (
        ((), ())
        if other
        else reasons_to_retrain(
            asked.retrain,
            asked.signs,
            trained_seconds=trained,
            newest_seconds=cut_off(dataset, split_of(context)) if trained is not None else 0,
            now_seconds=asked.now_seconds,
        )
    )
    num_built, num_added, num_gone = _updates(live)
    facts = Facts(
        retrain=retrain,
        other_towers=other,
        drifted_vectors=not other
        and _drifted(live, whole_rows(live, opened, towers), towers, dataset, changes)
        > asked.max_parity_error,
        other_index=_other_index(asked, about, towers.settings.dim),
        num_new=int(changes.added.sum()),
        num_changed=int(changes.changed.sum()),
        num_removed=changes.num_removed,
        num_described=int(changes.described.sum()),
        histories=changes.histories,
        num_built=num_built,
        num_added=num_added,
        num_gone=num_gone,
    )
    wide = load_towers(towers_folder).settings.dim if other else towers.settings.dim
    told = (*notes, *kept, *_unsealed(live, asked))
    return Survey(facts, live, opened, dataset, changes, towers_folder, context, wide, told)


def _verified_towers(folder: Path, verify: Verify) -> LoadedTowers:
    """The towers of a release, of which nothing is parsed before all of it was hashed."""
    verified(folder, verify)
    return loaded_towers(folder)


def _unsealed(live: ReleaseInfo, asked: Asked) -> tuple[str, ...]:
    """That a release waits to be sealed, under the newest key: nothing is published for that alone."""
    keys, sealed = asked.store_keys, live.manifest.files[PROFILES_FILE].sealed
    if keys is None or (sealed is not None and sealed.key == keys.newest.name):
        return ()
    now = "in clear" if sealed is None else f"sealed under {sealed.key}"
    return (f"profiles of {live.release_id} lie {now}; what is published next seals them",)


def _has_model(model: Path) -> bool:
    return all((model / name).is_file() for name in (*MODEL_FILES, TRAINING_FILE))


def _fingerprints(root: Path) -> Iterator[str]:
    """Of the models of all releases that can be read: one that was gone back from is not published again."""
    for release_id in release_ids(root):
        try:
            yield release_of(root, release_id, Verify.TRUSTED).manifest.description.model_fingerprint
        except (ReleaseError, OSError):
            continue


def _trained_seconds(artifacts: Path, about: Description, asked: Asked) -> tuple[int | None, tuple[str, ...]]:
    """The newest event that the live towers learned from, where anybody wants to know and it is known."""
    signs = asked.signs
    if asked.retrain is not Retrain.DUE or (signs.schedule, signs.drift, signs.max_age_days) == (None,) * 3:
        return None, ()
    model, tables = artifacts / "model", artifacts / "tables"
    if not _has_model(model) or fingerprint(model) != about.model_fingerprint or not tables.is_dir():
        return None, (f"{model}: not the towers of the live release",)
    dataset = read_dataset(tables, signals_of(about.context))
    return cut_off(dataset, split_of(about.context)), ()


def _updates(live: ReleaseInfo) -> tuple[int, int, int]:
    """Rows of the build, titles added since, and rows of the build that have gone."""
    if not has_updates(live):
        return live.manifest.description.num_items, 0, 0
    return read_counts(live.folder)


def _drifted(
    live: ReleaseInfo,
    vectors: Float32[np.ndarray, "R D"],
    towers: TwoTower,
    dataset: Dataset,
    changes: Changes,
) -> float:
    """By how much the towers give titles that did not change other vectors than the release has of them."""
    drawn = drawn_titles(live.folder, f"{live.release_id} drift")  # others than the gates look at
    same = np.flatnonzero(~changes.added & ~changes.changed)
    near = same[np.isin(changes.live_row[same], drawn.first + np.arange(drawn.num))]
    chosen = spread(near if len(near) else same, _NUM_SAMPLED)
    before = vectors[changes.live_row[chosen]]
    return float(np.abs(embedded(towers, dataset.titles, chosen) - before).max(initial=0.0))


def _other_index(asked: Asked, about: Description, whole: int) -> bool:
    """Whether an index of another kind, depth or width is asked for than the one that was built."""
    built, wanted = about.index, asked.index
    if about.dimension != (asked.dimension or whole):
        return True
    if wanted.kind is not IndexKind.COMPILED or built is None:
        return wanted != built
    # What was compiled is of the kind that was found.
    names = ("target_recall", "target_k", "max_bytes_per_item", "seed")
    return any(getattr(wanted, name) != getattr(built, name) for name in names)
