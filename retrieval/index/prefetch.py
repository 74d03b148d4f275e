"""Asks for memory before it is needed, from compiled code."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from retrieval.index.compiled import compiled

LINE_BYTES = 64
_READ, _KEEP_IN_L2, _DATA = 0, 2, 1


def _asks(_context: Any, array: Any, at_byte: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct: Any = cgutils.create_struct_proxy(signature.args[0])  # type: ignore[no-untyped-call]
        held = struct(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        wanted = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", (byte,), wanted)
        place = builder.gep(builder.bitcast(held.data, byte), [arguments[1]])
        builder.call(function, [place, number(_READ), number(_KEEP_IN_L2), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.int64), code


_ask: Any = intrinsic(_asks)


@compiled
def prefetch(array: np.ndarray, at_byte: int, num_bytes: int) -> None:
    """Has so many bytes of a contiguous array brought near, from the one given; never past its end."""
    end = min(at_byte + num_bytes, array.size * array.itemsize)
    for byte in range(at_byte, end, LINE_BYTES):
        _ask(array, byte)
