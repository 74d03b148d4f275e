"""Lists of near items, by FAISS, whose candidates the vectors score."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Float32, Int64
from safetensors.numpy import load, save

from retrieval.index.allowed import NO_BITMAP, Allowed, everything
from retrieval.index.faiss.centres import cluster_centres
from retrieval.index.faiss.files import read_faiss, write_faiss
from retrieval.index.refine import refined
from retrieval.index.scan import scan_allowed
from retrieval.index.spec import ENUMERATED_SHARE, Codes, IndexSpec, check_query, check_vectors, nothing_found
from towers.errors import IndexBuildError

_NONE = np.zeros(0, np.int64)
_FRAME_FILE = "index_frame.safetensors"
# Candidates of one call held at once: 2^22 are 48 MiB of scores and rows.
_MAX_CANDIDATES = 1 << 22
# Centres of the 4 bits of a product quantiser, and vectors that a block of its fast scan holds.
_PQ_CENTRES, _BLOCK = 16, 32
# Length of the longest vector and of queries, as a power of two: squares stay within float32, and few vectors
# differ from their centre by less than 3e-4, which RaBitQ takes for 1.
_LENGTH_EXPONENT = 10
# Bits of a query that is multiplied with codes of one bit: with fewer, recall falls.
_RABITQ_QUERY_BITS = 8

# Left untyped, as the library leaves them.
_ivf_parameters: Any = faiss.SearchParametersIVF
_bitmap_selector: Any = faiss.IDSelectorBitmap
_CLASSES: dict[Codes, Any] = {
    Codes.FLAT: faiss.IndexIVFFlat,
    Codes.SQ8: faiss.IndexIVFScalarQuantizer,
    Codes.PQ4: faiss.IndexIVFPQFastScan,
    Codes.RABITQ: faiss.IndexIVFRaBitQ,
}


class FaissIvf:
    """Lists of near items, of which the `nprobe` of the best centres are read; vectors score what is found.

    An item lies in the list of its nearest centre, by distance; a query reads those of highest inner
    product. FAISS itself takes the inner product for both, which where norms differ puts most of the items
    into the lists of the longest centres.

    vectors: what was indexed, which gives the scores; not copied, and not saved. turn: (H, D), what the lists
    hold is turn · x 2^-exponent.
    """

    def __init__(
        self,
        index: Any,
        vectors: Float32[np.ndarray, "N D"],
        spec: IndexSpec,
        *,
        turn: Float32[np.ndarray, "H D"],
        exponent: int,
    ) -> None:
        self._index, self._vectors, self.spec = index, vectors, spec
        self._turn, self._exponent = turn, exponent
        self._quantizer: Any = faiss.downcast_index(index.quantizer)
        lists = index.invlists
        self._length = np.array([lists.list_size(each) for each in range(index.nlist)])

    @property
    def size(self) -> int:
        """Vectors held."""
        return len(self._vectors)

    @property
    def dimension(self) -> int:
        """Width of a vector as it was given."""
        return int(self._vectors.shape[1])

    @property
    def num_lists(self) -> int:
        """Lists the items lie in."""
        return len(self._length)

    @property
    def num_bytes(self) -> int:
        """What a search reads, the vectors aside."""
        code = self._index.code_size + 8  # and the row
        return int(self._length.sum() * code + self.num_lists * self._index.d * 4)

    @property
    def depths(self) -> Float32[np.ndarray, " P"]:
        """Every number of lists that a search may read."""
        return np.arange(1, self.num_lists + 1, dtype=np.float32)

    def at(self, spec: IndexSpec) -> "FaissIvf":
        """The same lists and codes, searched as another spec says; nothing is copied."""
        return FaissIvf(self._index, self._vectors, spec, turn=self._turn, exponent=self._exponent)

    def to(self, stop: float) -> "FaissIvf":
        """The same, reading so many lists."""
        return self.at(replace(self.spec, nprobe=max(1, round(stop))))

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k vectors of the lists that are read; see `Index.search`.

        Where those hold fewer than k, every vector is scored.
        """
        score, row = self._read(query, k, self.spec.nprobe)
        wanted = min(k, self.size)
        left = np.flatnonzero(row[:, wanted - 1] < 0) if wanted else _NONE
        if len(left):
            score[left], row[left] = scan_allowed(self._vectors, query[left], k, everything(len(left)))
        return score, row

    def _read(self, query: np.ndarray, k: int, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        """The best k of so many lists, places left empty where they hold fewer."""
        check_query(query, k, self.dimension)
        score, row = nothing_found(len(query), k)
        depth = self._depth(k, 0)
        step = max(1, _MAX_CANDIDATES // max(1, depth))
        for start in range(0, len(query) if k else 0, step):
            part = slice(start, start + step)
            found = self._candidates(query[part], depth, nprobe)
            score[part], row[part] = self._refined(query[part], found, k)
        return score, row

    def search_allowed(
        self, query: Float32[np.ndarray, "Q D"], k: int, allowed: Allowed
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k that are allowed; see `SelectiveIndex`.

        FAISS takes one bitmap a call: there is a call for each. The fewer pass, the more lists are read;
        where only some do, they are scored one by one, and so is all that is allowed where lists left
        places empty.
        """
        check_query(query, k, self.dimension)
        allowed.check(len(query), self.size)
        score, row = nothing_found(len(query), k)
        if k == 0 or len(query) == 0:
            return score, row
        # The last is of line -1.
        passing = np.append(allowed.passing(), self.size)[allowed.line]
        num_excluded = np.diff(allowed.excluded_offset)
        # In few sizes, and of the query alone: an answer does not depend on what else is asked.
        more = np.where(num_excluded > 0, np.exp2(np.ceil(np.log2(np.maximum(num_excluded, 1)))), 0)
        scanned = passing < ENUMERATED_SHARE * self.size
        asked = np.stack([allowed.line, more.astype(np.int64)], axis=1)
        for line, most_excluded in np.unique(asked[~scanned], axis=0):
            alike = np.flatnonzero((asked == (line, most_excluded)).all(axis=1))
            selector = None if line == NO_BITMAP else _bitmap_selector(allowed.bitmap[line])
            nprobe = -(-self.spec.nprobe * self.size // int(passing[alike[0]]))
            depth = self._depth(k, int(most_excluded))
            step = max(1, _MAX_CANDIDATES // depth)
            for start in range(0, len(alike), step):
                part = alike[start : start + step]
                found = self._candidates(query[part], depth, nprobe, selector)
                found[allowed.select(part).excludes(found)] = -1
                score[part], row[part] = self._refined(query[part], found, k)
        # Of a rule's rows none may be among those left out: then there is no more.
        wanted = np.minimum(k, np.where(allowed.line == NO_BITMAP, self.size - num_excluded, passing))
        left = np.flatnonzero(scanned | ((row >= 0).sum(axis=1) < wanted))
        if len(left):
            score[left], row[left] = scan_allowed(self._vectors, query[left], k, allowed.select(left))
        return score, row

    def search_with(
        self, query: Float32[np.ndarray, "Q D"], k: int, *, stop: float
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"], Int64[np.ndarray, "2"]]:
        """The best k of so many lists, and how many codes and lists were read.

        Places stay empty where those hold fewer: to score every vector then, as `search` does, would look
        like a search that reads next to nothing.
        """
        num_lists = max(1, round(stop))
        score, row = self._read(query, k, num_lists)
        _, probed = self._quantizer.search(self._near(query), num_lists)
        return score, row, np.array([self._length[probed].sum(), probed.size])

    def _depth(self, k: int, num_excluded: int) -> int:
        """Candidates asked for: those that are refined, and as many more as may be left out."""
        wanted = max(k + self.spec.extra_candidates, round(k * self.spec.refine_factor))
        return min(self.size, wanted + num_excluded)

    def _candidates(self, query: np.ndarray, depth: int, nprobe: int, selector: Any = None) -> np.ndarray:
        """Rows that the lists hold for likely, -1 where they hold no more."""
        params = _ivf_parameters(nprobe=min(nprobe, self.num_lists), sel=selector)
        found: np.ndarray = self._index.search(self._near(query), depth, params=params)[1]
        return found

    def _refined(self, query: np.ndarray, row: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best k of the candidates, by their vectors."""
        return refined(self._vectors, query, row, k)

    def _near(self, query: np.ndarray) -> np.ndarray:
        """Queries as the lists know them, of one length, which changes no ranking."""
        norm = np.linalg.norm(query.astype(np.float64), axis=1, keepdims=True)
        norm = np.ldexp(np.where(norm > 0.0, norm, 1.0), -_LENGTH_EXPONENT)
        near = torch.from_numpy((query / norm).astype(np.float32))
        # By torch: threads of numpy's product go on spinning beside those that search.
        return (near @ torch.from_numpy(self._turn).T).numpy()

    def save(self, folder: Path) -> None:
        """Writes index.faiss (lists and codes) and index_frame.safetensors {"turn", "exponent"}."""
        write_faiss(self._index, folder)
        frame = {"turn": self._turn, "exponent": np.array([self._exponent], np.int64)}
        (folder / _FRAME_FILE).write_bytes(save(frame))


def build_ivf(
    vectors: Float32[np.ndarray, "N D"], spec: IndexSpec, centres: Float32[np.ndarray, "L D"] | None = None
) -> FaissIvf:
    """The lists and codes of the vectors; IndexBuildError where they cannot be indexed.

    centres: of the lists, where they are known; else k-means finds them.
    """
    check_vectors(vectors)
    exponent = int(np.frexp(np.linalg.norm(vectors.astype(np.float64), axis=1).max())[1]) - _LENGTH_EXPONENT
    turn = _turn(vectors.shape[1], spec)
    held = np.ldexp(vectors, -exponent) @ turn.T
    if centres is None:
        centres = cluster_centres(held, spec.lists_for(len(held)), spec.seed)
    else:
        centres = np.ldexp(centres, -exponent) @ turn.T
    index = _empty(spec, centres)
    # As much as a quantiser of 4 bits wants, of however few.
    index.train(held if len(held) >= _PQ_CENTRES else np.resize(held, (_PQ_CENTRES, held.shape[1])))
    index.add(held)
    probed = faiss.IndexFlatIP(held.shape[1])
    probed.add(centres)
    index.quantizer = probed
    probed.this.disown()  # type: ignore[attr-defined]
    index.own_fields = True
    return FaissIvf(index, vectors, spec, turn=turn, exponent=exponent)


def load_ivf(folder: Path, vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> FaissIvf:
    """The index that `FaissIvf.save` wrote, over the vectors it was built from."""
    frame = load((folder / _FRAME_FILE).read_bytes())
    index = read_faiss(folder, _CLASSES[spec.codes])
    turn, exponent = frame["turn"], int(frame["exponent"][0])
    lists = index.invlists
    rows = [faiss.rev_swig_ptr(lists.get_ids(n), lists.list_size(n)).copy() for n in range(index.nlist)]
    if turn.shape != (index.d, vectors.shape[1]) or not np.array_equal(
        np.sort(np.concatenate(rows)), np.arange(len(vectors))
    ):
        raise IndexBuildError(
            f"{folder}: lists of {sum(map(len, rows))} rows of dimension {index.d}, a turn {turn.shape} and "
            f"vectors {vectors.shape}; expected every row of the vectors in one list"
        )
    return FaissIvf(index, vectors, spec, turn=turn, exponent=exponent)


def _empty(spec: IndexSpec, centres: np.ndarray) -> Any:
    """A FAISS index without items, whose lists are chosen by distance."""
    num_lists, dimension = centres.shape
    nearest = faiss.IndexFlatL2(dimension)
    nearest.add(centres)
    shared = (nearest, dimension, num_lists)
    kind, product = _CLASSES[spec.codes], faiss.METRIC_INNER_PRODUCT
    match spec.codes:
        case Codes.FLAT:
            return kind(*shared, product)
        case Codes.SQ8:
            return kind(*shared, faiss.ScalarQuantizer.QT_8bit, product)
        case Codes.PQ4:
            index = kind(*shared, dimension // 2, 4, product, _BLOCK)
            index.by_residual = True
            index.pq.cp.seed, index.pq.cp.min_points_per_centroid = spec.seed, 1
        case Codes.RABITQ:
            index = kind(*shared, product)
            index.qb = _RABITQ_QUERY_BITS
    return index


def _turn(dimension: int, spec: IndexSpec) -> np.ndarray:
    """What vectors are turned by: at random for codes of one bit, which take coordinates to be alike.

    A coordinate of 0 more where pairs of them are coded.
    """
    if spec.codes is Codes.RABITQ:
        normal = np.random.default_rng(spec.seed).standard_normal((dimension, dimension))
        turn = np.linalg.qr(normal)[0].astype(np.float32)
        return np.ascontiguousarray(turn)
    return np.eye(dimension + (dimension % 2 if spec.codes is Codes.PQ4 else 0), dimension, dtype=np.float32)
