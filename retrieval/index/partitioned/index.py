"""The index of lists: what is stored, how it is laid out and searched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int8, Int32, Int64
from safetensors.numpy import load, save

from retrieval.index.allowed import Allowed, everything
from retrieval.index.partitioned.basis import Basis, item_basis, query_basis
from retrieval.index.partitioned.dots import in_lines
from retrieval.index.partitioned.kernels import CODE_STEP, MAX_CODE_DIM, search_partition
from retrieval.index.partitioned.partition import Partition, lists_of, partition
from retrieval.index.partitioned.subset import few_first, search_subset
from retrieval.index.spec import Geometry, IndexSpec, Refinement, check_query, check_vectors
from retrieval.index.threads import in_spans
from towers.errors import IndexBuildError, QueryError

_FILE = "index.safetensors"
# Stops that a search may be told, up to one that reads nearly everything.
_DEPTHS = np.arange(1, 257) * (10.0 / 256)
# Where codes refine, what rounding took off is kept of so many coordinates: of the first, which vary most.
_FINE_DIM = 32
# Items turned into coordinates at once.
_CHUNK = 1 << 16
# Fewer queries are not worth the product of matrices; entries beyond could leave float32 in it.
_MIN_BATCH, _MAX_ENTRY = 8, 1e15
# Where a bitmap lets fewer rows pass than this share, they are scored one by one and lists are left alone:
# lists are read in a row and rows are not, but the fewer pass, the more lists it takes to find enough.
_SUBSET_SHARE = 0.12
_NOBODY, _NO_WORDS = np.empty(0, np.int64), np.empty((0, 0), np.uint64)
# Scores of centres held at once: 2^22 are 16 MiB.
_MAX_COARSE = 1 << 22


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


class PartitionedIndex:
    """Lists of like items in coordinates made for the queries, read best first until nothing better is due.

    vectors: what was indexed, which gives the scores where it refines; copied only where
    its lines do not lie whole, and not saved.
    """

    def __init__(self, layout: Layout, vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> None:
        self._layout = replace(layout, code=in_lines(layout.code))
        self.spec = spec
        # Of one layout: kernels are compiled anew for another, and would gather from all over the memory.
        self._whole = vectors = np.ascontiguousarray(vectors)
        by_tail = spec.refinement is Refinement.CODES
        self._vectors = np.empty((0, vectors.shape[1]), np.float32) if by_tail else vectors
        self._head = torch.from_numpy(layout.basis[: layout.code.shape[1]])
        self._centre = torch.from_numpy(layout.centre)
        self._no_coarse = np.empty((0, len(layout.centre)), np.float32)
        self._compile()

    def _compile(self) -> None:
        """Has the kernels made, so that no request waits for them."""
        nothing = np.zeros((1, self.dimension), np.float32)
        self.search(nothing, 1)
        nowhere = np.zeros((1, 8 * -(-self.size // 64)), np.uint8)
        self.search_allowed(nothing, 1, everything(1).among(nowhere, np.zeros(1, np.int64)))

    @property
    def size(self) -> int:
        """Vectors held."""
        return len(self._layout.place)

    @property
    def dimension(self) -> int:
        """Width of a vector as it was given."""
        return int(self._layout.basis.shape[1])

    @property
    def num_lists(self) -> int:
        """Lists the items lie in."""
        return len(self._layout.centre)

    def at(self, spec: IndexSpec) -> "PartitionedIndex":
        """The same lists and codes, searched as another spec says; nothing is copied."""
        return PartitionedIndex(self._layout, self._whole, spec)

    def to(self, stop: float) -> "PartitionedIndex":
        """The same, searched as far as another stop says."""
        return self.at(replace(self.spec, stop=stop))

    @property
    def depths(self) -> Float64[np.ndarray, " P"]:
        """Stops that a search may be told."""
        return _DEPTHS

    @property
    def num_bytes(self) -> int:
        """What a search reads, the vectors aside."""
        return sum(getattr(self._layout, field.name).nbytes for field in fields(Layout))

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k of all vectors; see `Index.search`."""
        return self.search_allowed(query, k, everything(len(query)))

    def search_allowed(
        self, query: Float32[np.ndarray, "Q D"], k: int, allowed: Allowed
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k that are allowed; see `SelectiveIndex`."""
        return self.search_with(query, k, allowed, stop=self.spec.stop)[:2]

    def search_with(
        self,
        query: Float32[np.ndarray, "Q D"],
        k: int,
        allowed: Allowed | None = None,
        *,
        stop: float,
        threads: int | None = None,
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"], Int64[np.ndarray, "2"]]:
        """As `search`, reading lists as far as `stop` says; also how many codes and lists were read."""
        if k < 0 or query.ndim != 2 or query.shape[1] != self.dimension:
            check_query(query, k, self.dimension)
        score, row = np.empty((len(query), k), np.float32), np.empty((len(query), k), np.int64)
        allowed = everything(len(query)) if allowed is None else allowed
        allowed.check(len(query), self.size)
        work = np.zeros(2, np.int64)
        if k == 0:
            return score, row, work
        depth = min(self.size, max(k + self.spec.extra_candidates, round(k * self.spec.refine_factor)))
        depth, parts = max(k, depth), self._layout
        given = np.ascontiguousarray(query, np.float32)
        words, passing, by_bitmap, num_few = _NO_WORDS, _NOBODY, _NOBODY, 0
        if len(allowed.bitmap):
            words, passing = allowed.words(), np.empty(len(allowed.bitmap), np.int64)
            by_bitmap = np.empty(len(query), np.int64)
            num_few = few_first(words, allowed.line, _SUBSET_SHARE * self.size, passing, by_bitmap)

        def among_few(order: np.ndarray, first: int, last: int, own: np.ndarray) -> int:
            return search_subset(
                given,
                order,
                first,
                last,
                parts.basis,
                parts.code,
                parts.tail,
                parts.scale,
                parts.place,
                self._vectors,
                depth,
                words,
                passing,
                allowed.line,
                allowed.excluded_offset,
                allowed.excluded,
                score,
                row,
                own,
            )

        if num_few:
            work += _in_spans(among_few, by_bitmap[:num_few], threads)
        if num_few == len(query):
            return score, row, work
        others = np.ones(len(query), bool)
        others[by_bitmap[:num_few]] = False

        step = max(1, _MAX_COARSE // len(parts.centre))
        for start in range(0, len(query), step):
            order, coarse = self._coarse(given, start, min(start + step, len(query)))

            def in_lists(
                order: np.ndarray,
                first: int,
                last: int,
                own: np.ndarray,
                start: int = start,
                coarse: np.ndarray = coarse,
            ) -> int:
                return search_partition(
                    given,
                    order,
                    first,
                    last,
                    start,
                    coarse,
                    parts.basis,
                    parts.centre,
                    parts.spread,
                    stop,
                    parts.offset,
                    parts.code,
                    parts.tail,
                    parts.scale,
                    parts.row,
                    self._vectors,
                    depth,
                    allowed.bitmap,
                    allowed.line,
                    allowed.excluded_offset,
                    allowed.excluded,
                    score,
                    row,
                    own,
                )

            work += _in_spans(in_lists, order[others[order]] if num_few else order, threads)
        return score, row, work

    def _coarse(self, query: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """An order that keeps lists near, and scores of the centres, line i those of query first + i.

        Queries whose best list is the same stand together: what one has read, the next finds in the cache.
        Where a product of matrices is not worth it, or could leave float32, no scores are given.
        """
        part = query[first:last]
        if len(part) < _MIN_BATCH or not np.abs(part).max() < _MAX_ENTRY:
            return np.arange(first, last), self._no_coarse
        # By torch: threads of numpy's product go on spinning beside those that search.
        head = torch.from_numpy(part) @ self._head.T
        coarse = head @ self._centre.T
        return first + torch.argsort(coarse.argmax(dim=1), stable=True).numpy(), coarse.numpy()

    def save(self, folder: Path) -> None:
        """Writes index.safetensors, every array of `Layout` by its name."""
        arrays = {field.name: getattr(self._layout, field.name) for field in fields(Layout)}
        (folder / _FILE).write_bytes(save(arrays))


@dataclass(frozen=True, slots=True)
class Frame:
    """What codes of any width may share: the coordinates, and the list of each of N items."""

    basis: Basis
    list_of: Int64[np.ndarray, " N"]


def _in_spans(
    search: Callable[[np.ndarray, int, int, np.ndarray], int], order: np.ndarray, threads: int | None
) -> np.ndarray:
    """What was read by a kernel over these queries, codes and lists; QueryError where one is not finite."""

    def span(first: int, last: int) -> np.ndarray:
        own = np.zeros(2, np.int64)
        fault = search(order, first, last, own)
        if fault >= 0:
            raise QueryError(f"index: query {fault} is not finite; expected finite vectors")
        return own

    first, *others = in_spans(span, len(order), threads)
    return sum(others, start=first)


def build_partitioned(
    vectors: Float32[np.ndarray, "N D"], spec: IndexSpec, queries: Float32[np.ndarray, "Q D"] | None = None
) -> PartitionedIndex:
    """The index of the vectors, in the geometry that the spec names.

    Raises IndexBuildError where the vectors cannot be indexed, and on a geometry of queries without any.
    """
    check_vectors(vectors)
    return partitioned_in(frame_of(vectors, spec, queries), vectors, spec, queries)


def frame_of(
    vectors: Float32[np.ndarray, "N D"], spec: IndexSpec, queries: Float32[np.ndarray, "Q D"] | None
) -> Frame:
    """The coordinates of a geometry, and lists by those of them that a code of the spec holds."""
    if spec.geometry is Geometry.ITEMS:
        basis = item_basis(vectors)
    elif queries is not None and len(queries):
        basis = query_basis(vectors, queries)
    else:
        raise IndexBuildError(
            "index: geometry queries without queries; expected query vectors, or geometry items"
        )
    basis = _in_steps(basis, CODE_STEP)
    head = _turned(vectors, basis.item[: _code_dim(spec, basis)])
    return Frame(basis, lists_of(head, spec.lists_for(len(vectors)), spec.seed))


def partitioned_in(
    frame: Frame,
    vectors: Float32[np.ndarray, "N D"],
    spec: IndexSpec,
    queries: Float32[np.ndarray, "Q D"] | None,
) -> PartitionedIndex:
    """The index of the vectors in these coordinates and lists, with codes as the spec says."""
    basis = frame.basis
    code_dim = _code_dim(spec, basis)
    most = MAX_CODE_DIM - _FINE_DIM
    if spec.refinement is Refinement.CODES and len(basis.item) - code_dim > most:
        raise IndexBuildError(
            f"index: {len(basis.item)} coordinates, {code_dim} of them in the code; expected at most {most} "
            f"others where codes refine"
        )
    head = _turned(vectors, basis.item[:code_dim])
    asked = None if queries is None else _turned(queries, basis.query[:code_dim])
    lists = partition(head, asked, frame.list_of)
    return PartitionedIndex(_laid_out(vectors, head, basis.item, basis.query, lists, spec), vectors, spec)


def _code_dim(spec: IndexSpec, basis: Basis) -> int:
    return min(-(-spec.code_dim // CODE_STEP) * CODE_STEP, len(basis.item), MAX_CODE_DIM)


def _in_steps(basis: Basis, step: int) -> Basis:
    """The same with coordinates that are always 0 up to a multiple of the step."""
    more = [(0, -len(basis.item) % step), (0, 0)]
    return Basis(np.pad(basis.item, more), np.pad(basis.query, more))


def load_partitioned(folder: Path, vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> PartitionedIndex:
    """The index that `PartitionedIndex.save` wrote, over the vectors it was built from."""
    arrays = load((folder / _FILE).read_bytes())
    names = [field.name for field in fields(Layout)]
    if not set(names) <= set(arrays):
        raise IndexBuildError(f"{folder / _FILE}: holds {sorted(arrays)}; expected {', '.join(names)}")
    _check(arrays, vectors, folder / _FILE)
    # Copied: numpy puts large arrays into large pages, which reads from here and there need.
    return PartitionedIndex(Layout(**{name: arrays[name].copy() for name in names}), vectors, spec)


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


def _laid_out(
    vectors: np.ndarray,
    head: np.ndarray,
    item_map: np.ndarray,
    query_map: np.ndarray,
    lists: Partition,
    spec: IndexSpec,
) -> Layout:
    code_dim = head.shape[1]
    code, scale = _in_8_bits(head)
    basis, tail = query_map[:code_dim], np.empty((0, 0), np.int8)
    if spec.refinement is Refinement.CODES:
        fine = min(_FINE_DIM, code_dim)
        lost = head[:, :fine] - code[:, :fine] * scale[:fine]
        tail, tail_scale = _in_8_bits(np.hstack([_turned(vectors, item_map[code_dim:]), lost]))
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


def _turned(vectors: np.ndarray, basis: np.ndarray) -> np.ndarray:
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
        part = slice(start, start + _CHUNK)
        code[part] = np.clip(np.rint(values[part] / scale), -127, 127)
    return code, scale
