"""What an index of lists stores: items as codes, list after list; how it is written and read."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64
from safetensors.numpy import load, save

from retrieval.index.partitioned.partition import Partition
from retrieval.index.spec import IndexSpec, Refinement
from towers.errors import IndexBuildError

_FILE = "index.safetensors"
FINE_DIM = 32
"""Where codes refine, what rounding took off is kept of so many coordinates: the first, which vary most."""

# Items turned into coordinates at once.
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Layout:
    """What a search reads: N rows in L lists at M places, M > N where lists share rows.

    basis: query → H coordinates. centre, spread, offset: of the lists, as in `Partition`. code: the first C
    coordinates of the item at each place by `scale`; tail: where codes refine, the other H - C, and what
    rounding took off the first ones, which are coordinates of the query a second time. row: whose code it is;
    place: one place of each row.
    """

    basis: Float32[np.ndarray, "H D"]
    centre: Float32[np.ndarray, "L C"]
    spread: Float32[np.ndarray, " L"]
    offset: Int64[np.ndarray, " L1"]
    code: Int8[np.ndarray, "M C"]
    tail: Int8[np.ndarray, "T R"]
    scale: Float32[np.ndarray, " H"]
    row: Int32[np.ndarray, " M"]
    place: Int32[np.ndarray, " N"]

    @property
    def num_bytes(self) -> int:
        """What all arrays take."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def save(self, folder: Path) -> None:
        """Writes index.safetensors, every array by its name."""
        (folder / _FILE).write_bytes(save({field.name: getattr(self, field.name) for field in fields(self)}))


def laid_out(
    vectors: np.ndarray,
    head: np.ndarray,
    item_map: np.ndarray,
    query_map: np.ndarray,
    lists: Partition,
    spec: IndexSpec,
) -> Layout:
    """Items in codes, list after list.

    head: the coordinates of a code, (N, C). item_map, query_map: as of `Basis`.
    """
    code_dim = head.shape[1]
    code, scale = _in_8_bits(head)
    basis, tail = query_map[:code_dim], np.empty((0, 0), np.int8)
    if spec.refinement is Refinement.CODES:
        fine = min(FINE_DIM, code_dim)
        lost = head[:, :fine] - code[:, :fine] * scale[:fine]
        tail, tail_scale = _in_8_bits(np.hstack([turned(vectors, item_map[code_dim:]), lost]))
        tail, scale = tail[lists.row], np.concatenate([scale, tail_scale])
        basis = np.concatenate([query_map, query_map[:fine]])
    place = np.empty(len(vectors), np.int32)
    place[lists.row[::-1]] = np.arange(len(lists.row) - 1, -1, -1)
    return Layout(
        basis=np.ascontiguousarray(basis),
        centre=lists.centre,
        spread=lists.spread,
        offset=lists.offset,
        code=code[lists.row],
        tail=tail,
        scale=scale,
        row=lists.row.astype(np.int32),
        place=place,
    )


def turned(vectors: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Coordinates (N, C), in chunks."""
    out = np.empty((len(vectors), len(basis)), np.float32)
    for start in range(0, len(vectors), _CHUNK):
        np.matmul(vectors[start : start + _CHUNK], basis.T, out=out[start : start + _CHUNK])
    return out


def _in_8_bits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes from -127 to 127, and the scale of each column."""
    largest = np.maximum(values.max(axis=0, initial=0.0), -values.min(axis=0, initial=0.0))
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny).astype(np.float32)
    code = np.empty(values.shape, np.int8)
    for start in range(0, len(values), _CHUNK):
        code[start : start + _CHUNK] = in_steps(values[start : start + _CHUNK], scale)
    return code, scale


def in_steps(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Values in steps of their column's scale."""
    code: np.ndarray = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
    return code


def read_layout(folder: Path, vectors: Float32[np.ndarray, "N D"]) -> Layout:
    """What `Layout.save` wrote of these vectors; IndexBuildError where it does not fit them or itself."""
    arrays = load((folder / _FILE).read_bytes())
    names = [field.name for field in fields(Layout)]
    if not set(names) <= set(arrays):
        raise IndexBuildError(f"{folder / _FILE}: holds {sorted(arrays)}; expected {', '.join(names)}")
    _check(arrays, vectors, folder / _FILE)
    # Copied: numpy puts large arrays into large pages, which reads from here and there need.
    return Layout(**{name: arrays[name].copy() for name in names})


def _check(arrays: Mapping[str, np.ndarray], vectors: np.ndarray, where: Path) -> None:
    """Raises IndexBuildError where compiled code would read past the end of something."""
    basis, centre, code, tail = (arrays[name] for name in ("basis", "centre", "code", "tail"))
    offset, row, place = (arrays[name] for name in ("offset", "row", "place"))
    num_lists, num_places, num_rows = len(arrays["spread"]), len(code), len(vectors)
    sound = (
        basis.shape[1] == vectors.shape[1]
        and code.shape[1] <= len(basis) == len(arrays["scale"])
        and centre.shape == (num_lists, code.shape[1])
        and len(offset) == num_lists + 1
        and (offset[0], offset[-1], len(row)) == (0, num_places, num_places)
        and bool((np.diff(offset) >= 0).all())
        and len(place) == num_rows
        and 0 <= place.min() <= place.max() < num_places
        and 0 <= row.min() <= row.max() < num_rows
        and tail.shape in ((0, 0), (num_places, len(basis) - code.shape[1]))
    )
    if not sound:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise IndexBuildError(f"{where}: {shapes} do not fit each other and vectors {vectors.shape}")
