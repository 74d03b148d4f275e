"""Values → hash buckets, the same in every process, release and machine; and how many share one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, UInt8, UInt64

_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def fnv1a(values: pa.Array) -> UInt64[np.ndarray, " n"]:
    """FNV-1a, 64 bits, of each string's UTF-8 bytes; that of a null is that of the empty string.

    h = 0xcbf29ce484222325; for each byte: h = (h xor byte) · 0x100000001b3 mod 2^64.
    Python's own hash differs between processes, and that of a frame engine between its versions.
    Source: Fowler, Noll, Vo and Eastlake, IETF draft-eastlake-fnv.
    """
    texts = pc.fill_null(values.cast(pa.large_string()), "").cast(pa.large_binary())
    _, offsets, content = texts.buffers()
    if len(texts) == 0 or content is None:
        return np.full(len(texts), _FNV_OFFSET, np.uint64)
    offset = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return fnv1a_of(np.frombuffer(content, np.uint8), offset[:-1], np.diff(offset))


def fnv1a_of(
    byte: UInt8[np.ndarray, " c"], start: Int64[np.ndarray, " n"], length: Int64[np.ndarray, " n"]
) -> UInt64[np.ndarray, " n"]:
    """FNV-1a, 64 bits, of each run of bytes; runs may overlap."""
    hashed = np.full(len(start), _FNV_OFFSET, np.uint64)
    # Longest first: those that still have a byte at a place are then the first so many.
    order = np.argsort(-length, kind="stable")
    start, falling = start[order], -length[order]
    ordered = hashed[order]
    for place in range(-int(falling[0]) if len(falling) else 0):
        num_left = int(np.searchsorted(falling, -place))
        ordered[:num_left] ^= byte[start[:num_left] + place]
        ordered[:num_left] *= np.uint64(_FNV_PRIME)
    hashed[order] = ordered
    return hashed


def hash_buckets(values: pa.Array, num_buckets: int) -> Int64[np.ndarray, " n"]:
    """The bucket of each string, 0 to num_buckets - 1, by its FNV-1a."""
    return buckets_of(fnv1a(values), num_buckets)


def buckets_of(hashed: UInt64[np.ndarray, " n"], num_buckets: int) -> Int64[np.ndarray, " n"]:
    """The bucket of each FNV-1a hash, 0 to num_buckets - 1: its bits mixed, modulo the number of buckets.

    FNV-1a alone leaves the low bits of short, like strings alike, such as those of counted ids. The mix is
    the finaliser of MurmurHash3, Appleby 2011:
    h ^= h >> 33; h *= 0xff51afd7ed558ccd; h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53; h ^= h >> 33.
    """
    shift = np.uint64(33)
    mixed = hashed ^ (hashed >> shift)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> shift
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> shift
    bucket: np.ndarray = (mixed % np.uint64(num_buckets)).astype(np.int64)
    return bucket


def collision_rate(values: pa.Array, num_buckets: int) -> float:
    """The share of the distinct values that share their bucket with another; 0 of no values.

    Of n values that fall evenly, 1 - (1 - 1/m)^(n - 1) are expected to, with m buckets.
    """
    distinct = pc.unique(values.drop_null())
    if len(distinct) == 0:
        return 0.0
    count = np.bincount(hash_buckets(distinct, num_buckets))
    return 1.0 - int((count == 1).sum()) / len(distinct)
