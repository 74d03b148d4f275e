"""A verified release → what a Retriever answers from."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.catalogue import Catalogue
from retrieval.encoder import LoadedTowers, load_encoder, load_fold_in
from retrieval.id_table import IdTable
from retrieval.index.operating import read_curve
from retrieval.index.spec import Index
from retrieval.index.updates import UpdatedIndex
from retrieval.lists import ListAnswers, load_lists
from retrieval.profiles import ProfileHistories, read_profiles
from retrieval.release.files import (
    ANSWER_FILES,
    PROFILES_FILE,
    read_index,
    read_rows,
    vectors_model,
)
from retrieval.release.manifest import MANIFEST_FILE, AnswerKind, Description, FileEntry, Seal
from retrieval.release.store import current, open_release, release_of
from retrieval.release.titles import ITEMS_FILE, LINES_FILE, read_titles
from retrieval.release.verify import Verify
from retrieval.search.text_vectors import TextVectors, load_text_vectors
from retrieval.vectors import Encoder, VectorAnswers
from towers.data.privacy.sealed import StoreKeys, sealed_under
from towers.errors import IntegrityError, ReleaseError, TowersError
from towers.evaluation.cut import cut
from towers.exported import VECTORS_FILE

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Release:
    """One release in memory: its parts belong together.

    num_events: (R,), train events of the item of each row, its popularity. answers: what ranks the items of R
    rows. context: the settings it was made under, as the manifest has them. texts: what reads texts, where a
    query tower was trained.
    """

    release_id: str
    catalogue: Catalogue
    num_events: Int64[np.ndarray, " N"]
    answers: VectorAnswers | ListAnswers
    profiles: ProfileHistories
    context: Mapping[str, Any] = field(default_factory=dict)
    texts: TextVectors | None = None

    def __post_init__(self) -> None:
        counts = (self.catalogue.num_rows, len(self.num_events), self.answers.num_items)
        if len(set(counts)) != 1:
            raise ReleaseError(
                f"release {self.release_id}: {counts[0]} titles, {counts[1]} event counts and answers over "
                f"{counts[2]}; expected equal counts"
            )
        if not np.array_equal(self.catalogue.rows, _answered(self.answers, self.catalogue.num_rows)):
            raise ReleaseError(
                f"release {self.release_id}: {len(self.catalogue)} titles, whose rows are not those that are "
                "answered; expected a title in each of these, and in no other"
            )


def _answered(answers: VectorAnswers | ListAnswers, num_rows: int) -> Int64[np.ndarray, " N"]:
    """The rows that an answer may hold, ascending."""
    if isinstance(answers, VectorAnswers) and isinstance(answers.index, UpdatedIndex):
        return answers.index.rows()
    return np.arange(num_rows)


@dataclass(frozen=True, slots=True)
class Known:
    """What the caller has in memory of the files of a release, so that it is not read again.

    catalogue: what `read_titles` gives; ids: what finds its rows. towers: those of its files. built: float32
    (N, D), what VECTORS_FILE holds. base: the index as it was built, of another release, whose files are the
    same ones. for_a_job: whether vectors are mapped (`read_rows`).
    """

    catalogue: Catalogue
    built: Float32[np.ndarray, "N D"] | None = None
    base: Index | None = None
    towers: LoadedTowers | None = None
    ids: IdTable | None = None
    for_a_job: bool = False


def read_release(
    path: Path,
    verify: Verify = Verify.FULL,
    store_keys: StoreKeys | None = None,
    older: Catalogue | None = None,
) -> Release:
    """The current release of a root, or the release in this folder, verified before anything is parsed.

    verify: how much of it is hashed. store_keys: where its profiles are sealed; in clear they are read with
    and without. older: of another release, which is taken where the titles are in the same files. Raises
    ReleaseError where there is none, StoreKeyError where the key that sealed it was not given, IntegrityError
    where a file is not the one published. Where another release became current while this one was read, and
    this one was cleared away, the other is read.
    """
    while True:
        at = current(path)
        try:
            return _read(path, at, verify, store_keys, older)
        except (TowersError, OSError):  # a parser may be the first to miss a file
            if at is None or current(path) == at:
                raise


def _read(
    path: Path, at: str | None, verify: Verify, store_keys: StoreKeys | None, older: Catalogue | None
) -> Release:
    start = time.perf_counter()
    # The one that was named then: another may be current by now, and this one again when an error is judged.
    info = open_release(path, verify) if at is None else release_of(path, at, verify)
    required = (ITEMS_FILE, PROFILES_FILE, *ANSWER_FILES[info.manifest.description.kind])
    for name in required:
        if name not in info.manifest.files:
            raise IntegrityError(
                f"{info.folder / MANIFEST_FILE}: does not name {name}; expected {', '.join(required)}"
            )
    _check_seal(info.folder / PROFILES_FILE, info.manifest.files[PROFILES_FILE].sealed, store_keys)
    titles = _titles_sha256(info.manifest.files)
    if older is None or older.sha256 != titles:
        older = Catalogue(read_titles(info.folder), sha256=titles)
    about = info.manifest.description
    release = read_parts(info.folder, info.release_id, about, store_keys, Known(older))
    log.info(
        "release opened id=%s kind=%s num_items=%d num_profiles=%d seconds=%.2f",
        release.release_id,
        about.kind,
        len(release.catalogue),
        len(release.profiles.profiles),
        time.perf_counter() - start,
    )
    return release


def _titles_sha256(files: Mapping[str, FileEntry]) -> str:
    """What two releases have in common whose titles are the same, line by line."""
    return " ".join(files[name].sha256 for name in (ITEMS_FILE, LINES_FILE) if name in files)


def _check_seal(path: Path, expected: Seal | None, store_keys: StoreKeys | None) -> None:
    found, wanted = sealed_under(path), None if expected is None else expected.key
    if found != wanted:
        said = [f"under the store key {name}" if name else "by none" for name in (found, wanted)]
        raise IntegrityError(f"{path}: is sealed {said[0]}; the manifest expects it sealed {said[1]}")
    if found is None and store_keys is not None:
        log.warning(
            "profiles lie in clear, though there are store keys path=%s; what is published with the keys "
            "from now on is sealed",
            path,
        )


def read_parts(
    folder: Path,
    release_id: str,
    about: Description,
    store_keys: StoreKeys | None = None,
    known: Known | None = None,
) -> Release:
    """The release whose files lie in this folder; they are taken as they are, not verified.

    release_id: of one that is being made, the name of its folder. known: what need not be read. Raises
    StoreKeyError as `read_release`, and IntegrityError where towers, titles or profiles are not those of the
    description.
    """
    known = known or Known(Catalogue(read_titles(folder)))
    catalogue = known.catalogue
    ids = known.ids or catalogue.id_table()
    profiles = read_profiles(folder / PROFILES_FILE, ids, store_keys, release_id=release_id)
    answers: VectorAnswers | ListAnswers
    texts = None
    if about.index is None:
        lists = load_lists(folder)
        num_events, answers = lists.num_events, ListAnswers(lists, profiles)
    else:
        vectors, num_events = read_rows(folder, known.built, mapped=known.for_a_job)
        encoder = read_encoder(about.kind, folder, vectors, about.dimension, known.towers)
        searched = cut(vectors, encoder.dimension) if encoder.dimension < vectors.shape[1] else vectors
        index = read_index(about.index, folder, searched, known.base)
        # What was published before vectors named their model is held to the manifest's word.
        model = vectors_model(folder / VECTORS_FILE) or about.model_fingerprint
        answers = VectorAnswers(searched, index, encoder, read_curve(folder), model)
        texts = load_text_vectors(folder, encoder.fingerprint, vectors.shape[1], encoder.dimension)
    release = Release(release_id, catalogue, num_events, answers, profiles, about.context, texts)
    _check_against_description(release, about, folder)
    return release


def read_encoder(
    kind: AnswerKind,
    folder: Path,
    vectors: Float32[np.ndarray, "N D"],
    dimension: int | None,
    known: LoadedTowers | None = None,
) -> Encoder:
    """The query encoder whose files lie in this folder.

    dimension: of what it gives, where towers are cut. known: as in `load_encoder`.
    """
    if kind is AnswerKind.FACTORS:
        return load_fold_in(folder, vectors)
    # A width that no cut gives is the description's fault, which `_check_against_description` names.
    fits = dimension is not None and 1 <= dimension <= vectors.shape[1]
    return load_encoder(folder, vectors, dimension if fits else None, known)


def _check_against_description(release: Release, about: Description, folder: Path) -> None:
    pairs: list[tuple[str, object, object]] = [
        ("items", len(release.catalogue), about.num_items),
        ("profiles", len(release.profiles.profiles), about.num_profiles),
    ]
    if isinstance(release.answers, VectorAnswers):
        encoder = release.answers.encoder
        pairs += [
            ("model_fingerprint", encoder.fingerprint, about.model_fingerprint),
            ("dimension", encoder.dimension, about.dimension),
            ("columns of profiles", release.profiles.columns, encoder.profile_columns),
        ]
    for name, found, expected in pairs:
        if found != expected:
            raise IntegrityError(f"{folder}: {name} is {found!r}; manifest and model expect {expected!r}")
