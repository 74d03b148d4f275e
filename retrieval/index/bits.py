"""Set bits of 64-bit words, from compiled code."""

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from retrieval.index.compiled import compiled


def _trailing_zeros(_context: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)  # one instruction; of no word that is 0

    return types.uint64(word), code


def _population(_context: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(word), code


_lowest: Any = intrinsic(_trailing_zeros)
_count: Any = intrinsic(_population)


@compiled
def num_set(words: np.ndarray) -> int:
    """How many bits of the words, uint64 (W,), are set."""
    total = np.int64(0)
    for each in range(len(words)):
        total += np.int64(_count(words[each]))
    return int(total)


@compiled
def set_bits(words: np.ndarray, out: np.ndarray) -> int:
    """Writes the places of the bits that are set, ascending, and gives how many.

    words: uint64 (W,); bit i of word j is place 64 j + i. out: int32, with room for all of them.
    """
    size = 0
    for each in range(len(words)):
        word = words[each]
        while word != 0:
            out[size] = np.int32(each * 64 + _lowest(word))
            size += 1
            word &= word - np.uint64(1)
    return size
