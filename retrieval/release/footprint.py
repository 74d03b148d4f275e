"""How much memory a release takes once it is open."""

import gc
import sys
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from retrieval.release.read import Release
from towers.data.vocabulary import Vocabulary

_NATIVE_INDEX = "*.faiss"
"""Files whose content a library holds beyond Python's sight, as long in memory as on the disk."""


def memory_bytes(release: Release, folder: Path) -> int:
    """Bytes of all that the release holds, each buffer once; folder: where its files lie.

    Counted, not read from the system: what a process has allocated says more of its past than of a release.
    """
    native = sum(path.stat().st_size for path in folder.glob(_NATIVE_INDEX))
    return native + reachable_bytes(release)


def reachable_bytes(root: object) -> int:
    """Bytes of the objects that can be reached, arrays, tables and tensors by their buffers, each once."""
    seen: set[int] = set()
    waiting, total = [root], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | BuiltinFunctionType):
            continue
        seen.add(id(one))
        match one:
            case np.ndarray():
                owner = _owner(one)
                if owner is one:
                    total += one.nbytes
                else:
                    waiting.append(owner)
            case torch.Tensor():
                storage = one.untyped_storage()
                key = -storage.data_ptr() - 1  # no id of an object is negative
                total += 0 if key in seen else storage.nbytes()
                seen.add(key)
            case pa.Table() | pa.ChunkedArray() | pa.Array():
                total += one.nbytes
            case Vocabulary():  # millions of objects, which it counts at once
                total += one.held_bytes
            case FunctionType():
                waiting += one.__closure__ or ()  # not its globals: they are a module's
            case _:
                total += sys.getsizeof(one)
                waiting += gc.get_referents(one)
    return total


def _owner(array: np.ndarray) -> Any:
    """The object whose memory an array shows: itself where it owns it, or shows what is no object's."""
    base: Any = array
    while isinstance(base, np.ndarray) and isinstance(base.base, np.ndarray):
        base = base.base
    return base
