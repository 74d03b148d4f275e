"""The index of lists: how it is searched, one query or many, whole or among what is allowed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from retrieval.index.allowed import Allowed, everything
from retrieval.index.partitioned.dots import in_lines
from retrieval.index.partitioned.kernels import search_partition
from retrieval.index.partitioned.layout import Layout, in_steps
from retrieval.index.partitioned.subset import few_first, search_subset
from retrieval.index.spec import IndexSpec, Refinement, check_query
from retrieval.index.threads import in_spans
from towers.errors import QueryError

# Stops that a search may be told, up to one that reads nearly everything.
_DEPTHS = np.arange(1, 257) * (10.0 / 256)
# Fewer queries are not worth the product of matrices; entries beyond could leave float32 in it.
_MIN_BATCH, _MAX_ENTRY = 8, 1e15
# Where a bitmap lets fewer rows pass than this share, they are scored one by one and lists are left alone:
# lists are read in a row and rows are not, but the fewer pass, the more lists it takes to find enough.
_SUBSET_SHARE = 0.12
_NOBODY, _ALONE = np.empty(0, np.int64), np.zeros(1, np.int64)
# Scores of centres held at once: 2^22 are 16 MiB.
_MAX_COARSE = 1 << 22


class PartitionedIndex:
    """Lists of like items in coordinates made for the queries, read best first until nothing better is due.

    vectors: what was indexed, which gives the scores where it refines; copied only where
    its lines do not lie whole, and not saved.
    """

    def __init__(self, layout: Layout, vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> None:
        self._layout = replace(layout, code=in_lines(layout.code))
        self.spec, self._size, self._dimension = spec, len(layout.place), int(layout.basis.shape[1])
        # Of one layout: kernels are compiled anew for another, and would gather from all over the memory.
        self._whole = vectors = np.ascontiguousarray(vectors)
        by_tail = spec.refinement is Refinement.CODES
        self._vectors = np.empty((0, vectors.shape[1]), np.float32) if by_tail else vectors
        self._head = torch.from_numpy(layout.basis[: layout.code.shape[1]])
        # Centres as the codes are: a quarter of float32 to read, and no less exact than what they lead to.
        head_scale = layout.scale[: layout.code.shape[1]]
        self._centre_code = in_lines(in_steps(layout.centre, head_scale))
        self._centre = torch.from_numpy(self._centre_code * head_scale)
        self._num_at_once = max(1, _MAX_COARSE // len(layout.centre))
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
        return self._size

    @property
    def dimension(self) -> int:
        """Width of a vector as it was given."""
        return self._dimension

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
        return self._layout.num_bytes

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
        if k < 0 or query.ndim != 2 or query.shape[1] != self._dimension:
            check_query(query, k, self._dimension)
        score, row = np.empty((len(query), k), np.float32), np.empty((len(query), k), np.int64)
        allowed = everything(len(query)) if allowed is None else allowed
        allowed.check(len(query), self._size)
        work = np.zeros(2, np.int64)
        if k == 0:
            return score, row, work
        spec, parts = self.spec, self._layout
        depth = max(k, min(self._size, max(k + spec.extra_candidates, round(k * spec.refine_factor))))
        given = np.ascontiguousarray(query, np.float32)
        done, others = _NOBODY, None
        if len(allowed.bitmap):
            done = self._among_few(given, depth, allowed, score, row, work, threads)
            if len(done) == len(query):
                return score, row, work
        if len(done):
            others = np.ones(len(query), bool)
            others[done] = False
        for start in range(0, len(query), self._num_at_once):
            order, coarse = self._coarse(given, start, min(start + self._num_at_once, len(query)))

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
                    self._centre_code,
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

            _in_spans(in_lists, order if others is None else order[others[order]], threads, work)
        return score, row, work

    def _among_few(
        self,
        query: np.ndarray,
        depth: int,
        allowed: Allowed,
        score: np.ndarray,
        row: np.ndarray,
        work: np.ndarray,
        threads: int | None,
    ) -> np.ndarray:
        """Answers the queries whose bitmap lets few rows pass, row by row; gives which they are."""
        parts, words = self._layout, allowed.words()
        passing, by_bitmap = np.empty(len(allowed.bitmap), np.int64), np.empty(len(query), np.int64)
        num_few = few_first(words, allowed.line, _SUBSET_SHARE * self.size, passing, by_bitmap)

        def among_few(order: np.ndarray, first: int, last: int, own: np.ndarray) -> int:
            return search_subset(
                query,
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

        few = by_bitmap[:num_few]
        if num_few:
            _in_spans(among_few, few, threads, work)
        return few

    def _coarse(self, query: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """An order that keeps lists near, and scores of the centres, line i those of query first + i.

        Queries whose best list is the same stand together: what one has read, the next finds in the cache.
        Where a product of matrices is not worth it, or could leave float32, no scores are given.
        """
        part = query[first:last]
        if len(part) < _MIN_BATCH or not np.abs(part).max() < _MAX_ENTRY:
            return (_ALONE if len(query) == 1 else np.arange(first, last)), self._no_coarse
        # By torch: threads of numpy's product go on spinning beside those that search.
        head = torch.from_numpy(part) @ self._head.T
        coarse = head @ self._centre.T
        return first + torch.argsort(coarse.argmax(dim=1), stable=True).numpy(), coarse.numpy()

    def save(self, folder: Path) -> None:
        """Writes index.safetensors."""
        self._layout.save(folder)


def _in_spans(
    search: Callable[[np.ndarray, int, int, np.ndarray], int],
    order: np.ndarray,
    threads: int | None,
    work: np.ndarray,
) -> None:
    """Has a kernel answer these queries, and adds what it read; QueryError where one is not finite."""

    def span(first: int, last: int) -> np.ndarray:
        own = np.zeros(2, np.int64)
        fault = search(order, first, last, own)
        if fault >= 0:
            raise QueryError(f"index: query {fault} is not finite; expected finite vectors")
        return own

    for own in in_spans(span, len(order), threads):
        work += own
