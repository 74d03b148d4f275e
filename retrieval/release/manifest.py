"""What a release says of itself: its files and their hashes, and how it was made.

manifest.schema.json beside this module is its form as a JSON Schema; what that refuses is refused here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from retrieval.index.spec import IndexSpec
from towers.data.privacy.sealed import SCHEME
from towers.errors import ConfigError, IntegrityError, ReleaseError
from towers.settings import settings_from_plain

FORMAT_VERSION = 4
READ_VERSIONS = (1, 2, 3, 4)
"""Version 1 knew towers alone, and named no kind; 2 had no hashes of blocks; 3 no lines over the titles of a
build."""
MANIFEST_FILE = "manifest.json"
HASH_FILE = "manifest.sha256"
"""The manifest's own hash, in the form that `sha256sum -c` checks."""
METRIC = "inner_product"

_RELEASE_ID = re.compile("r[0-9]{6,}")
_SENSES = (">=", "<=", "==")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY_NAME = re.compile(r"[0-9a-f]{8}")


class AnswerKind(StrEnum):
    """How a release answers."""

    TOWERS = "towers"
    """By inner product: the user tower's vector with those of the item tower."""
    FACTORS = "factors"
    """By inner product: a history folded in, with the item factors of iALS."""
    LISTS = "lists"
    """From rankings made beforehand, which any rung can give."""


@dataclass(frozen=True, slots=True)
class Seal:
    """How a file is encrypted: scheme, and key, the name of the store key, which tells nothing about it."""

    scheme: str
    key: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """sha256: lower-case hex. size_bytes: length of the file. blocks: SHA-256 of each block of a long one.

    All three are of the bytes that lie there, sealed or not. sealed: None of a file that lies in clear.
    """

    sha256: str
    size_bytes: int
    blocks: tuple[str, ...] = ()
    sealed: Seal | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """One check: passed where `value sense bound` holds, sense one of ">=", "<=", "==".

    value: what was measured; None where an earlier failure left nothing to measure, or nothing was there to
    measure. override: why it was published although this check failed; None where nobody said so.
    """

    name: str
    value: float | None
    sense: str
    bound: float
    passed: bool
    override: str | None = None

    @property
    def verdict(self) -> str:
        """What became of it, in a word."""
        return "passed" if self.passed else "FAILED" if self.override is None else "overridden"

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.6g}"
        return f"{self.verdict} {self.name}: {value}, expected {self.sense} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Description:
    """What a release holds, as the one who writes its files knows it.

    kind: how it answers. index: how the index was built; dimension: width of item and query vectors; both
    None where lists answer. num_items, num_profiles, num_events: counts of the catalogue, the history
    snapshot and its events. model_fingerprint: that of the encoder the item vectors belong to, or of the
    lists. context: further facts as given (split settings, data set), JSON values by name. gates: what was
    checked.
    """

    kind: AnswerKind
    index: IndexSpec | None
    dimension: int | None
    num_items: int
    num_profiles: int
    num_events: int
    model_fingerprint: str
    context: Mapping[str, Any]
    gates: tuple[GateResult, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A release's own account.

    release_id: "r" and a number that rises with every publish. created: UTC, ISO 8601. parent: the release
    that was current before, None for the first. files: every file but the manifest and its hash, by plain
    name. created_by: versions of what made it, by distribution name.
    """

    release_id: str
    created: str
    parent: str | None
    files: Mapping[str, FileEntry]
    description: Description
    created_by: Mapping[str, str]


def is_release_id(name: str) -> bool:
    """Whether the name is that of a release."""
    return _RELEASE_ID.fullmatch(name) is not None


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON in UTF-8; ReleaseError where the context is not JSON."""
    about = manifest.description
    document = {
        "format_version": FORMAT_VERSION,
        "release_id": manifest.release_id,
        "created": manifest.created,
        "parent": manifest.parent,
        "metric": METRIC,
        "kind": about.kind.value,
        "index": None if about.index is None else asdict(about.index),
        "dimension": about.dimension,
        "counts": {
            "items": about.num_items,
            "profiles": about.num_profiles,
            "events": about.num_events,
        },
        "model_fingerprint": about.model_fingerprint,
        "context": dict(about.context),
        "gates": [asdict(gate) for gate in about.gates],
        "created_by": dict(manifest.created_by),
        "files": {name: _plain(entry) for name, entry in sorted(manifest.files.items())},
    }
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ReleaseError(f"manifest: {error}; expected a context of JSON values, finite numbers") from error
    return (text + "\n").encode()


def parse_manifest(content: bytes, where: Path | str) -> Manifest:
    """The manifest in these bytes.

    Raises ReleaseError on another format version, and IntegrityError naming the first key that is missing
    or of another type, and any file name that is not a plain one.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:  # brackets within brackets without end
        raise IntegrityError(f"{where}: {error}; expected JSON") from error
    if not isinstance(document, dict):
        raise IntegrityError(f"{where}: holds a {type(document).__name__}; expected a JSON object")
    version = document.get("format_version")
    if version not in READ_VERSIONS or isinstance(version, bool):
        known = ", ".join(map(str, READ_VERSIONS))
        raise ReleaseError(
            f"{where}: format_version is {version!r}; this version of the project reads {known}; upgrade it, "
            "or build the release again with it"
        )
    read = _Reader(document, where)
    kind = AnswerKind.TOWERS if version == 1 else _kind(read)
    by_vectors = kind is not AnswerKind.LISTS
    if read.text("metric") != METRIC:
        raise ReleaseError(f"{where}: metric is {read.text('metric')!r}; expected {METRIC!r}")
    counts = read.reader("counts")
    return Manifest(
        release_id=read.release_id("release_id"),
        created=read.text("created"),
        parent=None if document.get("parent", "") is None else read.release_id("parent"),
        files=_files(read.reader("files")),
        description=Description(
            kind=kind,
            index=_index_spec(read.reader("index")) if by_vectors else None,
            dimension=read.count("dimension") if by_vectors else None,
            num_items=counts.count("items"),
            num_profiles=counts.count("profiles"),
            num_events=counts.count("events"),
            model_fingerprint=read.text("model_fingerprint"),
            context=read.reader("context").document,
            gates=tuple(_gate(gate) for gate in read.readers("gates")),
        ),
        created_by=read.reader("created_by").texts(),
    )


def _plain(entry: FileEntry) -> dict[str, Any]:
    """An entry as JSON values; nothing of a seal where there is none, as before there were seals."""
    return {name: value for name, value in asdict(entry).items() if name != "sealed" or value is not None}


def _files(read: "_Reader") -> dict[str, FileEntry]:
    files = {}
    for name in read.document:
        # A name with a separator could lead a reader outside the folder.
        if name in ("", ".", "..", MANIFEST_FILE, HASH_FILE) or re.search(r"[/\\\x00-\x1f]", name):
            raise IntegrityError(f"{read.where}: names the file {name!r}; expected plain names in its folder")
        entry = read.reader(name)
        sha256, size_bytes = entry.text("sha256"), entry.count("size_bytes")
        blocks = tuple(map(str, entry.typed("blocks", list))) if "blocks" in entry.document else ()
        if not all(map(_SHA256.fullmatch, (sha256, *blocks))):
            raise IntegrityError(f"{entry.where}: expected hashes of 64 lower-case hex digits")
        sealed = _seal(entry.reader("sealed")) if "sealed" in entry.document else None
        files[name] = FileEntry(sha256, size_bytes, blocks, sealed)
    return files


def _seal(read: "_Reader") -> Seal:
    scheme, key = read.text("scheme"), read.text("key")
    if scheme != SCHEME:
        raise ReleaseError(
            f"{read.where}: scheme is {scheme!r}; this version of the project reads {SCHEME}; upgrade it, or "
            "build the release again with it"
        )
    if not _KEY_NAME.fullmatch(key):
        raise IntegrityError(f"{read.where}: key is {key!r}; expected its name, 8 lower-case hex digits")
    return Seal(scheme, key)


def _kind(read: "_Reader") -> AnswerKind:
    kind = read.text("kind")
    if kind not in list(AnswerKind):
        raise ReleaseError(f"{read.where}: kind is {kind!r}; expected one of {', '.join(AnswerKind)}")
    return AnswerKind(kind)


def _index_spec(read: "_Reader") -> IndexSpec:
    read.text("kind")  # the one field without which the rest says nothing
    try:
        # What a spec knows now and did not when it was written is as it was built then: by the defaults.
        return settings_from_plain(IndexSpec, asdict(IndexSpec()) | read.document, "index")
    except ConfigError as error:
        raise IntegrityError(f"{read.where}: {error}; expected an index spec") from error


def _gate(read: "_Reader") -> GateResult:
    value = read.document.get("value")
    return GateResult(
        name=read.text("name"),
        value=None if value is None else read.number("value"),
        sense=read.one_of("sense", _SENSES),
        bound=read.number("bound"),
        passed=read.typed("passed", bool),
        override=None if read.document.get("override") is None else read.text("override"),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Typed access to a JSON object; IntegrityError names the key that is not as expected."""

    document: dict[str, Any]
    where: Path | str

    def typed(self, key: str, expected: type) -> Any:
        value = self.document.get(key)
        # bool is an int in Python, but true is not a count.
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise IntegrityError(f"{self.where}: {key} is {value!r}; expected {expected.__name__}")
        return value

    def text(self, key: str) -> str:
        return str(self.typed(key, str))

    def integer(self, key: str) -> int:
        return int(self.typed(key, int))

    def count(self, key: str) -> int:
        value = self.integer(key)
        if value < 0:
            raise IntegrityError(f"{self.where}: {key} is {value}; expected >= 0")
        return value

    def one_of(self, key: str, known: Sequence[str]) -> str:
        value = self.text(key)
        if value not in known:
            raise IntegrityError(f"{self.where}: {key} is {value!r}; expected one of {', '.join(known)}")
        return value

    def release_id(self, key: str) -> str:
        value = self.text(key)
        if not is_release_id(value):
            raise IntegrityError(f"{self.where}: {key} is {value!r}; expected a release id such as r000001")
        return value

    def texts(self) -> dict[str, str]:
        return {key: self.text(key) for key in self.document}

    def number(self, key: str) -> float:
        value = self.document.get(key)
        return float(self.typed(key, int if isinstance(value, int) else float))

    def reader(self, key: str) -> "_Reader":
        return _Reader(self.typed(key, dict), f"{self.where}: {key}")

    def readers(self, key: str) -> "list[_Reader]":
        items = self.typed(key, list)
        if not all(isinstance(item, dict) for item in items):
            raise IntegrityError(f"{self.where}: {key} holds other than objects; expected a list of objects")
        return [_Reader(item, f"{self.where}: {key}[{place}]") for place, item in enumerate(items)]
