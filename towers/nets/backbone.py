"""A frozen sentence-transformers model beside the query tower: what texts mean, learned elsewhere."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from towers.errors import ConfigError, MissingExtraError, ReleaseError, TowersError
from towers.nets.backbone_files import BackboneFiles, files_of_export, files_of_folder
from towers.nets.unit import unit

_LIBRARY = "sentence_transformers"
_PROMPT = "query"
"""What stands before a text, where the model was trained with such a prompt; else its default."""
_LOADING = threading.Lock()
"""What the libraries are told while a model is loaded holds for the process."""


class Backbone:
    """Texts → unit vectors (n, E), by a model whose weights never change. Safe for any number of readers.

    Runs on the CPU in float32. files: what it was read from; fingerprint: theirs. max_tokens: so many of a
    text are read, and no more than the model can.
    """

    def __init__(self, files: BackboneFiles, max_tokens: int) -> None:
        """Raises MissingExtraError without the extra, and what the libraries do where files are damaged."""
        self.files, self.max_tokens = files, max_tokens
        self.fingerprint = files.fingerprint()
        self._model = _loaded(files)
        self._model.max_seq_length = min(max_tokens, self._model.max_seq_length or max_tokens)
        prompts = self._model.prompts
        self._prompt = prompts.get(_PROMPT) or prompts.get(self._model.default_prompt_name) or None
        # The tokenizer is told anew with every call how long a text may be: not by two at once.
        self._reading = threading.Lock()
        tried = self._embed(["a"])
        if not np.isfinite(tried).all():
            raise ValueError("it gives vectors that are not finite")
        self.dim = tried.shape[1]

    def embed(self, texts: Sequence[str], batch: int = 1) -> Float32[np.ndarray, "n E"]:
        """The unit vectors of texts; batch: so many are read at once, those of like length together."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        out = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            out[rows] = self._embed([texts[row] for row in rows])
        return out

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> Float32[np.ndarray, "n E"]:
        with self._reading:
            read = self._model.preprocess(texts, prompt=self._prompt)
        found: np.ndarray = unit(self._model(read)["sentence_embedding"].float()).numpy()
        return found


def check_backbone(folder: Path) -> None:
    """Raises as `open_backbone` would, as far as files and packages tell: before hours of training."""
    files_of_folder(folder)
    if find_spec(_LIBRARY) is None:
        raise _missing(_LIBRARY, str(folder))


def open_backbone(folder: Path, max_tokens: int) -> Backbone:
    """The model in a folder that a user names.

    Raises what `files_of_folder` does, MissingExtraError where the extra `text` is not installed, and
    ConfigError where the libraries cannot read it.
    """
    return _opened(files_of_folder(folder), max_tokens, ConfigError)


def open_exported(folder: Path, description: Any, source: Path) -> Backbone:
    """The model in an export or release. description: what its QUERY_FILE, `source`, has as backbone.

    Raises what `files_of_export` does, MissingExtraError where the extra `text` is not installed: a query
    tower with a backbone reads no text without it. ReleaseError where files are others than were exported, or
    cannot be read.
    """
    named = isinstance(description, dict) and set(description) == {"files", "fingerprint", "max_tokens"}
    if not named or not isinstance(description["max_tokens"], int):
        raise ReleaseError(f"{source}: backbone is {description!r:.80}; expected what an export has")
    files = files_of_export(folder, description["files"], source)
    found = files.fingerprint()
    if found != description["fingerprint"]:
        raise ReleaseError(
            f"{source}: the fingerprint of the backbone's files is {found}; expected "
            f"{description['fingerprint']}, that of the export"
        )
    return _opened(files, description["max_tokens"], ReleaseError)


def described(backbone: Backbone, named: dict[str, str]) -> dict[str, Any]:
    """What QUERY_FILE says of a backbone; named: what `BackboneFiles.copy` gave."""
    return {"fingerprint": backbone.fingerprint, "max_tokens": backbone.max_tokens, "files": named}


def _opened(files: BackboneFiles, max_tokens: int, error: type[TowersError]) -> Backbone:
    try:
        return Backbone(files, max_tokens)
    except TowersError:
        raise
    except Exception as fault:  # of the libraries, each with its own kinds
        raise error(
            f"{files.where}: {type(fault).__name__}: {str(fault).strip().partition(chr(10))[0]}; expected a "
            "sentence-transformers model that reads texts"
        ) from fault


def _loaded(files: BackboneFiles) -> Any:
    """The model, of these files and no others, its weights in memory of its own."""
    try:
        library = import_module(_LIBRARY)
    except ModuleNotFoundError as error:
        raise _missing(error.name or _LIBRARY, files.where) from error
    with TemporaryDirectory() as name, _LOADING, _quiet_and_offline():
        files.lay_out(Path(name))
        model = library.SentenceTransformer(
            name,
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    for weight in model.parameters():
        # Not mapped: the file may be replaced or deleted while the model lives.
        weight.requires_grad_(False).data = weight.data.clone()
    return model.eval()


def _missing(name: str, where: str) -> MissingExtraError:
    return MissingExtraError(
        f"{where}: texts are read by a sentence-transformers model, and {name} is not installed; expected "
        "the extra `text`: pip install 'two-tower-retrieval[text]'"
    )


@contextmanager
def _quiet_and_offline() -> Iterator[None]:
    """Nothing is looked for in the network, and no bar is drawn; afterwards both are as they were."""
    hub: Any = import_module("huggingface_hub.constants")
    bars: Any = import_module("transformers.utils.logging")
    offline, drawn = hub.HF_HUB_OFFLINE, bars.is_progress_bar_enabled()
    hub.HF_HUB_OFFLINE = True
    bars.disable_progress_bar()
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = offline
        if drawn:
            bars.enable_progress_bar()
