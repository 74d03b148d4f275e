"""SipHash-2-4 of 128 bits, of many short strings of bytes at once.

The published function and no library's own hash: it is the same on every machine and in every version. Under
a key that nobody knows beforehand nobody can choose two strings with one hash. Source: Aumasson and Bernstein
2012, SipHash: a fast short-input PRF, doi:10.1007/978-3-642-34931-7_28; of 128 bits as in their reference
code (v1 and the end of its rounds marked).
"""

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from retrieval.index.compiled import compiled

KEY_BYTES = 16


def padded_bytes(length: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The places that `siphashes` wants of strings of these lengths: whole words, a byte of the last free."""
    return (length // 8 + 1) * 8


def siphashes(
    data: UInt8[np.ndarray, " B"],
    start: Int64[np.ndarray, " n"],
    length: Int64[np.ndarray, " n"],
    key: bytes,
) -> UInt64[np.ndarray, "n 2"]:
    """The hash of each string data[start:start + length]; its 16 bytes are those of both words, low first.

    Strings start at whole words, and the rest of their last word is zero: see `padded_bytes`. key: 16 bytes.
    """
    out = np.empty((len(length), 2), np.uint64)
    _hash(data.view("<u8"), start // 8, length, np.frombuffer(key, "<u8", 2), out)
    return out


@compiled
def _hash(word: np.ndarray, start: np.ndarray, length: np.ndarray, key: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(length)):
        v0, v1 = key[0] ^ np.uint64(0x736F6D6570736575), key[1] ^ np.uint64(0x646F72616E646F6D)
        v2, v3 = key[0] ^ np.uint64(0x6C7967656E657261), key[1] ^ np.uint64(0x7465646279746573)
        v1 ^= np.uint64(0xEE)
        num = length[i] // 8
        for at in range(start[i], start[i] + num + 1):
            m = word[at]
            if at == start[i] + num:  # the last word says how long the whole is
                m |= np.uint64(length[i] & 255) << np.uint64(56)
            v3 ^= m
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
            v0 ^= m
        v2 ^= np.uint64(0xEE)
        for _ in range(4):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        out[i, 0] = v0 ^ v1 ^ v2 ^ v3
        v1 ^= np.uint64(0xDD)
        for _ in range(4):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        out[i, 1] = v0 ^ v1 ^ v2 ^ v3


@compiled
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0, v2 = v0 + v1, v2 + v3
    v1, v3 = _turned(v1, 13) ^ v0, _turned(v3, 16) ^ v2
    v0 = _turned(v0, 32)
    v2, v0 = v2 + v1, v0 + v3
    v1, v3 = _turned(v1, 17) ^ v2, _turned(v3, 21) ^ v0
    return v0, v1, _turned(v2, 32), v3


@compiled
def _turned(value: np.uint64, num: int) -> np.uint64:
    return (value << np.uint64(num)) | (value >> np.uint64(64 - num))
