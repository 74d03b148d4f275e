"""Arrays on their way to another process: those that map a file by its path, the others by value."""

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class MappedFile:
    """An array that maps a file: `shape` values of `dtype`, in C order, from byte `offset_bytes` on."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset_bytes: int

    def array(self) -> np.ndarray:
        """The array, mapped read-only; nothing of the file is read yet."""
        if 0 in self.shape:  # the system maps no empty range
            return np.zeros(self.shape, self.dtype)
        mapped: np.ndarray = np.memmap(self.path, self.dtype, "r", self.offset_bytes, self.shape)
        return mapped.view(np.ndarray)  # a memmap pays for its name at every slice


@dataclass(frozen=True, slots=True)
class InMemory:
    """An array that maps no file, or not a whole run of it."""

    values: np.ndarray

    def array(self) -> np.ndarray:
        """The array itself."""
        return self.values


Portable = MappedFile | InMemory


def portable(array: np.ndarray) -> Portable:
    """The array in the form in which it travels.

    A slice of a mapped file is the file again, from a later byte on. What was mapped copy-on-write travels by
    value: its changes are in no file.
    """
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    map_of_file: object = root.base  # of all the views of one mapped file the first has it
    if not isinstance(root, np.memmap) or not isinstance(map_of_file, mmap.mmap):
        return InMemory(array)
    if root.filename is None or root.mode == "c" or not array.flags.c_contiguous:
        return InMemory(array)
    skipped = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return MappedFile(Path(root.filename), array.dtype, array.shape, root.offset + skipped)
