"""Exact search on a GPU: all items are scored in bfloat16, the best again in float32, and answers proven."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from retrieval.index import groups
from retrieval.index.allowed import NO_BITMAP, Allowed
from retrieval.index.cuda_graphs import Replays
from retrieval.index.spec import Device, check_query, check_vectors, nothing_found
from towers.errors import IndexBuildError
from towers.topk import ordered_topk, topk

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

# Maxima of groups held at once: 1.5 GiB of float32.
_MOST_MAXIMA = 3 << 27
# Scores of what passes a rule held at once, where all of it is scored.
_MOST_SCORES = 1 << 28
# Queries that one block of threads takes at most: parts of so many leave none of them idle.
_ROUND = 256
# Tiles of a block, for few queries and for many.
_TILES_OF_FEW, _TILES = 48, 64
# Up to so many queries a search takes the GPU less time than the CPU needs to ask for it.
_FEW, _SIZES = 64, (1, 16, 64)
# What the kernels take: numbers of a row at most, and of a row as it lies, 16 bytes of bfloat16.
_WIDEST, _WHOLE = 256, 8
# What a sum of products loses by its order, relative to the lengths: 2^-24 per term in float32, and no more
# than four times that in a tensor core.
_LOST_PER_TERM = 2.0**-22
_PART = 1 << 20


class GpuIndex:
    """N vectors on a GPU that answer maximum-inner-product queries exactly; it holds 6 bytes a number.

    The best k items lie in k groups at most (see `groups`), and in those whose best scores are highest. So a
    few more groups than k are looked into, and of their items a few more than k are scored with the float32
    vectors. What was lost by bfloat16 is bounded by lengths that are known,

        |<q, v> - <q', v'>| <= |q'| |v - v'| + |q - q'| (|v'| + |v - v'|),

    and an answer stands when its k-th score is above all that the bound lets the items left out have. One
    that does not is looked for once more among four times as many, and then among all, in float32.
    """

    def __init__(self, vectors: Float32[np.ndarray, "N D"], device: torch.device | str = "cuda") -> None:
        """Raises IndexBuildError on vectors that no index takes, and without a GPU that has the kernels.

        On device="cpu" the same is done in plain torch: to be tested, not to be served.
        """
        check_vectors(vectors)
        self._hold(torch.from_numpy(vectors).to(_checked(torch.device(device))))

    @classmethod
    def of(cls, vectors: Float32[Tensor, "N D"]) -> "GpuIndex":
        """The index of finite vectors that are on a device already, which it holds without a copy."""
        index = cls.__new__(cls)
        index._hold(vectors)
        return index

    def _hold(self, item: Float32[Tensor, "N D"]) -> None:
        self._item, self._padding = item, -item.shape[1] % _WHOLE
        self._kernels = _kernels(item.device, item.shape[1])
        self._rounded = self._near(item)
        self._lost = self._longest = 0.0
        for part, near in zip(torch.split(item, _PART), torch.split(self._rounded, _PART), strict=True):
            lost, length = (float(each.max()) for each in self._lengths(part, near))
            self._lost, self._longest = max(self._lost, lost), max(self._longest, length)
        self._replays = Replays(_SIZES)
        self._replaying = Lock()

    @property
    def size(self) -> int:
        """Vectors held."""
        return len(self._item)

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self._item.shape[1])

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k of all vectors; see `Index.search`."""
        check_query(query, k, self.dimension)
        given = torch.from_numpy(np.ascontiguousarray(query)).to(self._item.device)
        score, row, _ = self.search_tensors(given, k)
        return score.cpu().numpy(), row.cpu().numpy()

    def search_allowed(
        self, query: Float32[np.ndarray, "Q D"], k: int, allowed: Allowed
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k that are allowed, exactly; see `SelectiveIndex`.

        Bitmaps are read where the maxima of groups are taken. Rows left out of the answer are few: as many
        more are asked for.
        """
        check_query(query, k, self.dimension)
        allowed.check(len(query), self.size)
        score, row = nothing_found(len(query), k)
        most = int(np.diff(allowed.excluded_offset).max(initial=0))
        # In few sizes: a search of few queries is recorded for each.
        wanted = min(self.size, k + (1 << (most - 1).bit_length() if most else 0))
        ruled = allowed.line != NO_BITMAP
        for chosen in (np.flatnonzero(~ruled), np.flatnonzero(ruled)):
            if len(chosen) == 0 or k == 0:
                continue
            part = allowed.select(chosen)
            given = torch.from_numpy(query[chosen]).to(self._item.device)
            passing = self._passing(part) if ruled[chosen[0]] else None
            found_score, found_row, _ = self.search_tensors(given, wanted, passing)
            found = found_score.cpu().numpy(), found_row.cpu().numpy()
            kept = (found[1] >= 0) & ~part.excludes(found[1])
            order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
            kept, *best = (np.take_along_axis(each, order, axis=1) for each in (kept, *found))
            score[chosen, : order.shape[1]] = np.where(kept, best[0], -np.inf)
            row[chosen, : order.shape[1]] = np.where(kept, best[1], -1)
        return score, row

    def _passing(self, allowed: Allowed) -> groups.Passing:
        """The bitmaps of queries that have one, on the device, of whole tiles."""
        used, line = np.unique(allowed.line, return_inverse=True)
        # Megabytes a bitmap, where there are millions of items: copied as they lie, and filled up over there.
        bitmap = allowed.bitmap if len(used) == len(allowed.bitmap) else allowed.bitmap[used]
        device, num_bytes = self._item.device, -(-self.size // groups.TILE) * groups.TILE // 8
        bits = torch.from_numpy(bitmap).to(device)
        bits = (
            F.pad(bits, (0, num_bytes - bits.shape[1])) if bits.shape[1] < num_bytes else bits[:, :num_bytes]
        )
        return groups.Passing(bits.contiguous(), torch.from_numpy(line).to(device))

    def search_tensors(
        self, query: Float32[Tensor, "Q D"], k: int, passing: groups.Passing | None = None
    ) -> tuple[Float32[Tensor, "Q K"], Int64[Tensor, "Q K"], int]:
        """As `search`, of finite vectors on the index's device; and how many were looked for among all.

        passing: what each query may be answered with; everything where None.
        """
        wanted = min(k, self.size)
        shape = len(query), k
        score, row = query.new_empty(shape), query.new_empty(shape, dtype=torch.int64)
        if wanted < k or not len(query):
            score.fill_(-torch.inf)
            row.fill_(-1)
        if not len(query) or not wanted:
            return score, row, 0
        if self.dimension > _WIDEST:
            every = torch.arange(len(query), device=query.device)
            self._look_at_all(query, every, passing, score[:, :wanted], row[:, :wanted])
            return score, row, len(query)
        # In plain torch every score is held before its maximum.
        held = self.size if self._kernels is groups else -(-self.size // groups.GROUP)
        num_parts = -(-len(query) * held // _MOST_MAXIMA)
        step = -(-len(query) // (num_parts * _ROUND)) * _ROUND
        num_whole = 0
        for start in range(0, len(query), step):
            part = slice(start, start + step)
            rule = None if passing is None else groups.Passing(passing.bits, passing.line[part])
            num_whole += self._best(query[part], rule, score[part, :wanted], row[part, :wanted])
        return score, row, num_whole

    def save(self, folder: Path) -> None:
        """Writes nothing: the index is the vectors, which a release holds."""

    def _best(
        self,
        query: Float32[Tensor, "Q D"],
        passing: groups.Passing | None,
        score: Float32[Tensor, "Q K"],
        row: Int64[Tensor, "Q K"],
    ) -> int:
        """Puts the best in their places; how many queries were looked for among all."""
        k = score.shape[1]
        if not query.is_cuda or len(query) > _FEW or passing is not None:
            return self._put(self._look(query, k, passing), passing, score, row)
        # What a replay gives is overwritten by the next one.
        with self._replaying:
            looked = self._replays(self._look, query, k)
            # Of the zeros that fill up every score is the same: whether they are proven says nothing.
            kept = looked if len(looked[0]) == len(query) else [each[: len(query)] for each in looked[:8]]
            return self._put(kept, None, score, row)

    def _look(
        self, query: Float32[Tensor, "Q D"], k: int, passing: groups.Passing | None = None
    ) -> tuple[Tensor, ...]:
        """What is known of the queries, as `_among` takes it, and what it finds."""
        near, blur = self._blurred(query)
        # Few queries: many small blocks, which share out evenly. Many: fewer super-groups to choose from.
        tiles = _TILES_OF_FEW if len(query) <= _FEW else _TILES
        maxima = self._kernels.group_maxima(near, self._rounded, tiles, passing)
        asked = (query, near, blur, *maxima)
        score, row, proven = self._among(*asked, k=k, num=_more_than(k), passing=passing)
        return *asked, score, row, proven, proven.all()

    def _blurred(self, query: Float32[Tensor, "Q D"]) -> tuple[Tensor, Tensor]:
        """The queries rounded, and how far a rounded score of each may be off."""
        near = self._near(query)
        lost, length = self._lengths(query, near)
        slack = self.dimension * _LOST_PER_TERM * length * self._longest
        return near, length * self._lost + lost * (self._longest + self._lost) + slack

    def _put(
        self,
        looked: Sequence[Tensor],
        passing: groups.Passing | None,
        score: Float32[Tensor, "Q K"],
        row: Int64[Tensor, "Q K"],
    ) -> int:
        """Puts what was found in its place, after a second look for those that the first did not prove.

        How many were not proven then either, and were looked for among all.
        """
        query, proven = looked[0], looked[7]
        all_proven = looked[8] if len(looked) > 8 else proven.all()
        score.copy_(looked[5])
        row.copy_(looked[6])
        # The one moment that waits for the GPU.
        if all_proven:
            return 0
        left = torch.nonzero(~proven)[:, 0]
        asked = [each[left] for each in looked[:5]]
        rule = None if passing is None else passing.select(left)
        k = score.shape[1]
        score[left], row[left], proven = self._among(*asked, k=k, num=4 * _more_than(k), passing=rule)
        left = left[~proven]
        self._look_at_all(query, left, passing, score, row)
        return len(left)

    def _look_at_all(
        self,
        query: Float32[Tensor, "Q D"],
        left: Int64[Tensor, " n"],
        passing: groups.Passing | None,
        score: Float32[Tensor, "Q K"],
        row: Int64[Tensor, "Q K"],
    ) -> None:
        """Puts the best among all, in float32, in the places of these queries."""
        k = score.shape[1]
        if passing is None:
            if len(left):
                score[left], row[left] = topk(query[left], self._item, k)
            return
        for part in torch.split(left, max(1, _MOST_SCORES // self.size)):
            passes = passing.select(part).unpacked(0, self.size)
            scores = (query[part] @ self._item.T).masked_fill_(~passes, -torch.inf)
            best, best_row = ordered_topk(scores, k)
            score[part], row[part] = best, torch.where(best == -torch.inf, -1, best_row)

    def _among(
        self,
        query: Float32[Tensor, "Q D"],
        near: Float[Tensor, "Q D8"],
        blur: Float32[Tensor, " Q"],
        of_group: Float32[Tensor, "Q G"],
        of_super: Float32[Tensor, "Q S"],
        *,
        k: int,
        num: int,
        passing: groups.Passing | None,
    ) -> tuple[Float32[Tensor, "Q K"], Int64[Tensor, "Q K"], Bool[Tensor, " Q"]]:
        """The best k of the best `num` items of the best `num` groups, and whether they are proven.

        near: the queries rounded; blur: how far a rounded score may be off; and the maxima, of what passes.
        Row -1 where nothing more does.
        """
        tiles_per_block = of_group.shape[1] // of_super.shape[1]
        best_super = of_super.topk(min(num, of_super.shape[1]), sorted=False).indices
        group = groups.groups_of(best_super, tiles_per_block)
        # The best `num` groups are among these: each super-group left out has no better one than any of them.
        best = of_group.gather(1, group).topk(min(num, group.shape[1]), sorted=False)
        group = group.gather(1, best.indices)
        everything = group.shape[1] == of_group.shape[1]
        outside = best.values.new_full((len(query),), -torch.inf) if everything else best.values.amin(1)
        near_score = self._kernels.scores_within(near, self._rounded, group)
        if passing is not None:
            passes = passing.of(groups.rows_of(group).flatten(1))
            near_score = near_score.masked_fill(~passes, -torch.inf)
        kept = near_score.topk(min(num, near_score.shape[1]), sorted=False)
        if kept.indices.shape[1] < near_score.shape[1]:
            outside = torch.maximum(outside, kept.values.amin(1))
        row = groups.rows_of(group).flatten(1).gather(1, kept.indices).sort(dim=1).values
        # A product and a sum: a matrix product would be TF32's where torch is told to use that.
        score = (self._item[row.clamp(max=self.size - 1)] * query[:, None]).sum(2)
        score.masked_fill_(row >= self.size, -torch.inf)
        if passing is not None:
            passes = passing.of(row)
            score.masked_fill_(~passes, -torch.inf)
            row = torch.where(passes, row, -1)
        score, order = score.sort(dim=1, descending=True, stable=True)
        proven = (score[:, k - 1] > outside + blur) | (outside == -torch.inf)
        return score[:, :k], row.gather(1, order)[:, :k], proven

    def _near(self, vectors: Float32[Tensor, "n D"]) -> Float[Tensor, "n D8"]:
        """The vectors in bfloat16, rows of whole 16 bytes."""
        near = F.pad(vectors.to(torch.bfloat16), (0, self._padding)).contiguous()
        # A CPU has no quick product of bfloat16, and Triton's interpreter none: the same numbers in float32.
        return near if near.is_cuda else near.float()

    def _lengths(
        self, vectors: Float32[Tensor, "n D"], near: Float[Tensor, "n D8"]
    ) -> tuple[Float32[Tensor, " n"], Float32[Tensor, " n"]]:
        """Of each vector: how far it is from what it was rounded to, and how long that is."""
        near = near[:, : self.dimension].float()
        return torch.linalg.vector_norm(vectors - near, dim=1), torch.linalg.vector_norm(near, dim=1)


def gpu_index(vectors: Float32[np.ndarray, "N D"], device: Device) -> GpuIndex:
    """The index of the vectors, on a GPU if there is one that serves; Device.CUDA: IndexBuildError if not."""
    if device is Device.AUTO:
        try:
            return GpuIndex(vectors, "cuda")
        except IndexBuildError as error:
            check_vectors(vectors)
            log.warning("index put on the CPU, where a scan by kind flat is faster reason=%s", error)
            device = Device.CPU
    return GpuIndex(vectors, str(device))


def _more_than(k: int) -> int:
    return k + max(32, 2 * k // 3)


def _checked(device: torch.device) -> torch.device:
    """The device, if it is one that this machine has and the kernels run on."""
    if device.type != "cuda":
        return device
    available = torch.cuda.is_available() and torch.version.hip is None
    if not available or torch.cuda.get_device_capability(device) < (8, 0) or find_spec("triton") is None:
        raise IndexBuildError(
            "gpu index: there is no CUDA device of compute capability 8.0 or later, or no Triton; expected "
            "both, or an index of kind flat, whose answers are the same"
        )
    return device


def _kernels(device: torch.device, dimension: int) -> "ModuleType":
    """Those of a GPU, or the same functions in plain torch."""
    if device.type != "cuda" or dimension > _WIDEST:
        return groups
    # Only here is Triton needed: this module is imported where there is no GPU.
    from retrieval.index import group_kernels

    return group_kernels
