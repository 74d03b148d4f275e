"""The format of a release: its schema, and that releases of every version stay readable.

tests/retrieval/release/golden holds one of each version, made by the version of this project that wrote it:
untrained towers over eighteen titles, and what it answered then. That of version 4 was made from another.
"""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from retrieval import Retriever
from retrieval.release.manifest import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    READ_VERSIONS,
    AnswerKind,
    FileEntry,
    GateResult,
    Manifest,
    Seal,
    manifest_bytes,
    parse_manifest,
)
from retrieval.release.store import open_release, publish
from retrieval.release.verify import Verify
from tests.retrieval.release.publisher import description, write_files
from towers.data.privacy.sealed import SCHEME
from towers.errors import ReleaseError

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    read = json.loads((files("retrieval.release") / "manifest.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(read)
    return jsonschema.Draft202012Validator(read)


def _folder(version: int) -> Path:
    (folder,) = (GOLDEN / f"v{version}").glob("r*")
    return folder


def _golden(version: int) -> Any:
    return json.loads((_folder(version) / MANIFEST_FILE).read_text())


def test_there_is_a_golden_release_of_every_version() -> None:
    assert READ_VERSIONS[-1] == FORMAT_VERSION
    assert [_golden(version)["format_version"] for version in READ_VERSIONS] == list(READ_VERSIONS)
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 200_000


def test_of_version_1_the_manifest_is_read_and_towers_that_learned_otherwise_are_refused() -> None:
    # Their nets are none of today's: to answer with them would be to answer otherwise than they did.
    folder = _folder(1)
    assert open_release(folder).manifest.description.kind is AnswerKind.TOWERS
    with pytest.raises(
        ReleaseError, match=r"format_version is 2; expected 4, which scripts/train\.py writes"
    ):
        Retriever.open(folder)


@pytest.mark.parametrize("version", READ_VERSIONS[1:])
@pytest.mark.parametrize("verify", Verify)
def test_a_release_of_each_version_answers_as_it_did_when_it_was_made(version: int, verify: Verify) -> None:
    retriever = Retriever.open(_folder(version), verify)
    then = json.loads((GOLDEN / f"v{version}" / "answers.json").read_text())
    for profile_id, expected in then["recommend"].items():
        answer = retriever.recommend(profile_id, k=len(expected))
        score = dict(expected)
        assert [now for _, now in answer] == pytest.approx([then for _, then in expected], abs=1e-4)
        # Of equal scores either may come first.
        assert [score.get(item, now) for item, now in answer] == pytest.approx(list(score.values()), abs=1e-4)
    for item_id, expected in then["similar"].items():
        assert set(retriever.similar(item_id, k=len(expected)).item_id) == set(expected)


@pytest.mark.parametrize("version", READ_VERSIONS)
def test_the_manifest_of_each_version_is_as_the_schema_says(
    schema: jsonschema.Draft202012Validator, version: int
) -> None:
    schema.validate(_golden(version))


def test_what_is_published_is_as_the_schema_says(
    schema: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    for _ in range(2):  # one without a parent, and one with
        folder = publish(tmp_path, write_files).folder
        schema.validate(json.loads((folder / MANIFEST_FILE).read_text()))


def test_manifests_of_lists_of_long_files_and_of_gates_are_as_the_schema_says(
    schema: jsonschema.Draft202012Validator,
) -> None:
    gates = (
        GateResult("recall", None, ">=", 0.95, False),
        GateResult("unique_ids", 0.0, "==", 0.0, True, "a reason"),
    )
    about = replace(description(), kind=AnswerKind.LISTS, index=None, dimension=None, gates=gates)
    entry = FileEntry("0" * 64, 40 << 20, ("1" * 64, "2" * 64, "3" * 64))
    made = Manifest(
        "r000007", "2026-01-01T00:00:00+00:00", "r000006", {"a.bin": entry}, about, {"numpy": "2"}
    )
    document = json.loads(manifest_bytes(made))
    schema.validate(document)
    assert parse_manifest(json.dumps(document).encode(), Path("m")) == made


def sealed_manifest() -> Manifest:
    """One that says of a file that it is sealed, and of another nothing of the kind."""
    files = {
        "a.bin": FileEntry("0" * 64, 1),
        "profiles.parquet": FileEntry("1" * 64, 2, (), Seal(SCHEME, "00c0ffee")),
    }
    return Manifest("r000001", "2026-01-01T00:00:00+00:00", None, files, description(), {})


def test_what_is_sealed_is_named_with_its_scheme_and_the_name_of_its_key(
    schema: jsonschema.Draft202012Validator,
) -> None:
    made = sealed_manifest()
    document = json.loads(manifest_bytes(made))
    schema.validate(document)
    assert "sealed" not in document["files"]["a.bin"]  # as it was before there were seals
    assert document["files"]["profiles.parquet"]["sealed"] == {
        "scheme": "hkdf-sha256/aes-256-gcm-stream/1",
        "key": "00c0ffee",
    }
    assert parse_manifest(json.dumps(document).encode(), Path("m")) == made
    document["files"]["profiles.parquet"]["sealed"]["scheme"] = "hkdf-sha256/aes-256-gcm-stream/2"
    with pytest.raises(ReleaseError, match=r"/2'; this version of the project reads .*/1; upgrade it"):
        parse_manifest(json.dumps(document).encode(), Path("m"))


def _changes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same with one value at a time missing, or another."""
    for path in list(_paths(document)):
        others: tuple[Any, ...] = (None, "?", -1, 0.5, True, [], {}, [1])
        for other in others:
            changed = copy.deepcopy(document)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] != other or type(inner[path[-1]]) is not type(other):
                inner[path[-1]] = other
                yield f"{path} = {other!r}", changed
        changed = copy.deepcopy(document)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        yield f"{path} is missing", changed


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Keys of a manifest, but those of its context, which is anything, and of its index spec."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        path = (*above, key)
        yield path
        if path[0] not in ("context", "index"):
            yield from _paths(value[key], path)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_the_schema_refuses_the_reader_refuses(
    schema: jsonschema.Draft202012Validator, is_sealed: bool
) -> None:
    document = json.loads(manifest_bytes(sealed_manifest())) if is_sealed else _golden(FORMAT_VERSION)
    document["gates"] = document["gates"][:1]
    document["files"] = dict(list(document["files"].items())[-1:])
    num_refused = 0
    for name, changed in _changes(document):
        if schema.is_valid(changed):
            continue
        num_refused += 1
        try:
            parse_manifest(json.dumps(changed).encode(), Path("m"))
        except ReleaseError:
            continue
        pytest.fail(f"the reader takes {name}")
    assert num_refused > 100


def test_a_newer_version_is_refused_and_the_way_on_named(tmp_path: Path) -> None:
    newer = _golden(FORMAT_VERSION) | {"format_version": FORMAT_VERSION + 1}
    with pytest.raises(
        ReleaseError, match=re.escape("reads 1, 2, 3, 4; upgrade it, or build the release again")
    ):
        parse_manifest(json.dumps(newer).encode(), tmp_path)
    assert open_release(GOLDEN / "v3" / "r000001").release_id == "r000001"
