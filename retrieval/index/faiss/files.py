"""An index of FAISS → a file, and back."""

from pathlib import Path
from typing import Any

import faiss

from towers.errors import IndexBuildError

FILE = "index.faiss"

# The library's own type stubs lack it.
_writer: Any = faiss.PyCallbackIOWriter  # type: ignore[attr-defined]


def write_faiss(index: Any, folder: Path) -> None:
    """Writes index.faiss through Python's file, whose errors are raised; FAISS's own writer may lose one."""
    with (folder / FILE).open("wb") as file:
        faiss.write_index(index, _writer(file.write))


def read_faiss(folder: Path, expected: Any) -> Any:
    """The index that `write_faiss` wrote; IndexBuildError where it is another file, or no `expected`."""
    try:
        index = faiss.read_index(str(folder / FILE))
    except RuntimeError as error:
        raise IndexBuildError(f"{folder / FILE}: {error}; expected a FAISS index") from error
    if type(index) is not expected:
        raise IndexBuildError(
            f"{folder / FILE}: holds a {type(index).__name__}; expected a {expected.__name__}"
        )
    return index
