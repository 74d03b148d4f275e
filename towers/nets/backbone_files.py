"""The files of a sentence-transformers model: which are read, which refused, and their names in an export."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from towers.errors import ConfigError, IntegrityError, MissingDataError, ReleaseError, TowersError
from towers.exported import BACKBONE_PREFIX

KEY = "query_tower.backbone"
"""The setting that names the folder, as messages begin."""

_READ = frozenset({".json", ".model", ".safetensors", ".txt"})
"""Weights as plain numbers, settings, and vocabularies; nothing else is read."""
_LEFT_OUT = re.compile(r"\..*|.*\.md|(LICENSE|NOTICE)(\..*)?", re.IGNORECASE)
"""What people read, and hidden files: not read, and not copied."""
_MODULES_FILE = "modules.json"
_PACKAGE = "sentence_transformers."
_MODULES = frozenset({"Transformer", "Pooling", "Normalize", "Dense"})
"""Of the library's own parts those whose settings name no code but torch's activations."""
_VOCABULARIES = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json"})
"""Their keys are words of a language, and long; they set nothing."""
_ADAPTER_FILE = "adapter_config.json"
_REFUSED_KEYS = frozenset(
    {
        *("auto_map", "trust_remote_code", "custom_pipelines", "quantization_config", "model_args"),
        *("model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"),
    }
)
"""Settings that name code, need code from elsewhere, or carry arguments that could."""
_SAFE_NAME = re.compile(re.escape(BACKBONE_PREFIX) + r"[A-Za-z0-9._+-]+")
_SAFE_PATH = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)*")


@dataclass(frozen=True, slots=True)
class BackboneFiles:
    """The files of a model: where each lies, by its path in the model's own folder ("1_Pooling/config.json").

    where: what messages begin with.
    """

    where: str
    path: Mapping[str, Path]

    def fingerprint(self) -> str:
        """SHA-256 over the paths and the content of every file: equal ones are the same model."""
        digest = hashlib.sha256()
        for relative, path in sorted(self.path.items()):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            digest.update(hashlib.sha256(relative.encode()).digest() + content)
        return digest.hexdigest()

    def copy(self, folder: Path) -> dict[str, str]:
        """Copies the files into a folder that holds no others; gives the path of each by its name there.

        Exports and releases have no folders inside: names are `BACKBONE_PREFIX` and the path, "/" as ".".
        """
        named = {BACKBONE_PREFIX + relative.replace("/", "."): relative for relative in sorted(self.path)}
        if len(named) < len(self.path):
            raise ConfigError(f"{self.where}: two files differ in '/' and '.' alone; expected other names")
        for name, relative in named.items():
            shutil.copyfile(self.path[relative], folder / name)
        return named

    def lay_out(self, folder: Path) -> None:
        """The model's own folder again, of links to the files: nothing but them can be read there."""
        for relative, path in self.path.items():
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.resolve())


def files_of_folder(folder: Path) -> BackboneFiles:
    """The files of the model in a folder, which a user names.

    Raises MissingDataError where there is no such folder, and ConfigError, naming the file, on whatever could
    run code when it is read: weights that are unpickled, modules in Python, settings that name code.
    """
    where = f"{KEY}: {folder}"
    if not folder.is_dir():
        raise MissingDataError(
            f"{where}: no such folder; expected that of a sentence-transformers model, as "
            "SentenceTransformer(...).save_pretrained(folder) writes it"
        )
    found = BackboneFiles(where, dict(_walk(folder, where)))
    _check(found, ConfigError)
    return found


def files_of_export(folder: Path, described: Any, source: Path) -> BackboneFiles:
    """The files of the model in an export or release, which holds them under the names that `copy` gave.

    described: what `source`, its QUERY_FILE, has as files. Raises ReleaseError where that is not what `copy`
    gives or a file is refused as in `files_of_folder`, and IntegrityError where one is not there.
    """
    plain = isinstance(described, dict) and all(
        _SAFE_NAME.fullmatch(name) and isinstance(relative, str) and _SAFE_PATH.fullmatch(relative)
        for name, relative in described.items()
    )
    if not plain or len(set(described.values())) < len(described):
        raise ReleaseError(f"{source}: backbone has other files than an export; expected names and paths")
    for name in described:
        if not (folder / name).is_file():
            raise IntegrityError(
                f"{folder / name}: is missing; expected the backbone that {source.name} names"
            )
    found = BackboneFiles(str(source), {relative: folder / name for name, relative in described.items()})
    _check(found, ReleaseError)
    return found


def _walk(folder: Path, where: str) -> Iterator[tuple[str, Path]]:
    """The files of a folder that are read, by path; ConfigError on what is neither read nor left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise ConfigError(f"{where}: {name} is a link to a folder; expected a folder")
        for name in sorted(names):
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if _LEFT_OUT.fullmatch(name):
                continue
            if path.suffix not in _READ:
                raise ConfigError(
                    f"{where}: holds {relative}; expected weights in *.safetensors, and of other files "
                    "*.json, *.txt and *.model alone, since nothing is unpickled or executed: take it out, "
                    "or save the model anew by SentenceTransformer(...).save_pretrained(another_folder)"
                )
            if not _SAFE_PATH.fullmatch(relative):
                raise ConfigError(f"{where}: holds {relative!r}; expected letters, digits and ._+- in names")
            yield relative, path


def _check(files: BackboneFiles, error: type[TowersError]) -> None:
    """Raises the error on a model that is not of the library's own parts, or whose settings name code."""
    where = files.where
    for relative, path in files.path.items():
        name = PurePosixPath(relative).name
        if path.suffix not in _READ or name == _ADAPTER_FILE:
            raise error(
                f"{where}: holds {relative}; expected a whole model of safetensors, JSON and vocabularies"
            )
        if path.suffix == ".json" and name not in _VOCABULARIES:
            _check_settings(_read(path, f"{where}: {relative}", error), f"{where}: {relative}", error)
    if not any(relative.endswith(".safetensors") for relative in files.path):
        raise error(f"{where}: no weights; expected a *.safetensors file")
    if _MODULES_FILE not in files.path:
        raise error(f"{where}: no {_MODULES_FILE}; expected that of a sentence-transformers model")
    modules = _read(files.path[_MODULES_FILE], f"{where}: {_MODULES_FILE}", error)
    if not isinstance(modules, list) or not modules:
        raise error(f"{where}: {_MODULES_FILE} holds no modules; expected a list of them")
    for module in modules:
        kind, place = (module.get("type"), module.get("path")) if isinstance(module, dict) else (None, None)
        is_own = isinstance(kind, str) and kind.startswith(_PACKAGE) and kind.rpartition(".")[2] in _MODULES
        if not is_own:
            raise error(
                f"{where}: {_MODULES_FILE} has a module of the type {kind!r}; expected some of "
                f"{', '.join(sorted(_MODULES))}, of {_PACKAGE.rstrip('.')} itself"
            )
        if not isinstance(place, str) or (place and not _SAFE_PATH.fullmatch(place)):
            raise error(f"{where}: {_MODULES_FILE} has a module at {place!r}; expected a path in its folder")


def _check_settings(read: Any, where: str, error: type[TowersError]) -> None:
    """Raises the error on the first setting, at any depth, by which code could come in."""
    if isinstance(read, list):
        for each in read:
            _check_settings(each, where, error)
    if not isinstance(read, dict):
        return
    for key, value in read.items():
        is_kernel = key.strip("_").startswith("attn_implementation") and "/" in str(value)
        is_method = key == "method" and value != "forward"
        if (key in _REFUSED_KEYS and value) or is_kernel or is_method:
            raise error(
                f"{where}: {key} is {str(value)[:80]!r}; expected none: a backbone runs no code but that of "
                "the libraries, as they are installed"
            )
        _check_settings(value, where, error)


def _read(path: Path, where: str, error: type[TowersError]) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as fault:
        raise error(f"{where}: {fault}; expected JSON") from fault
