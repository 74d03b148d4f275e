"""Products and powers of two in vector registers, as code for machine-code functions; float32 on a CPU.

A tile of a product stays in registers while its sum is taken, as in Goto and van de Geijn 2008,
doi:10.1145/1356052.1356053. Unlike there nothing is packed: the right side is to be small enough to stay in
a cache as it lies. Arrays are given by their addresses and what lies between their rows, in bytes.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic


def _lanes() -> int:
    features: dict[str, bool] = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 0


LANES = _lanes()
"""Numbers of a vector: 16 on a CPU with AVX-512, 8 with AVX2 and FMA, else 0, and there is no code here."""
NUMBER_BYTES = 4
# A tile's sums, a row of the right side and one number of the left fit the 32 registers of AVX-512, or the 16
# of AVX2, and are enough that no sum waits for the one before.
_ROWS, _VECTORS = 4, 4 if LANES == 16 else 2
# 2^f = sum_k c_k f^k for |f| <= 1/2, to 2e-9, where float32 tells 6e-8 apart.
_POWERS = np.polynomial.Chebyshev.interpolate(np.exp2, 6, domain=[-0.5, 0.5]).convert(
    kind=np.polynomial.Polynomial
)
_ROUNDING = 1.5 * 2.0**23  # added to a float32, it leaves whole numbers only
_SMALLEST_EXPONENT = -126.0


def compiled(function: Callable[..., object]) -> Any:
    """The function in machine code, made for this CPU when it is first called, and kept beside it.

    What is kept is made anew when its own file changes, not when another does that it calls into. It holds no
    interpreter lock.
    """
    # What checks shapes in tests wraps every function; a wrapper is no code for a kernel.
    plain = inspect.unwrap(function)
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(plain)
    except RuntimeError:  # no folder to keep it in: neither beside the module nor the user's own
        return numba.njit(**options)(plain)


_FLOAT, _LONG = ir.FloatType(), ir.IntType(64)
_VECTOR, _INTEGERS = (ir.VectorType(kind, max(1, LANES)) for kind in (_FLOAT, ir.IntType(32)))


def _tile(rows: int, vectors: int) -> Any:
    """Code for c[r, v] = start[r, v] + sum_k a[r, k] b[k, v], of so many rows and vectors of columns.

    Its arguments are addresses and, after each, bytes to the next row, of a also to the next k; then how many
    k there are, one at least.
    """

    def typed(
        _context: Any,
        a: Any,
        a_row: Any,
        a_step: Any,
        b: Any,
        b_step: Any,
        start: Any,
        start_row: Any,
        c: Any,
        c_row: Any,
        steps: Any,
    ) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_row, a_step, b, b_step, start, start_row, c, c_row, steps = arguments
            tile = [(row, vector) for row in range(rows) for vector in range(vectors)]

            def each(address: Any, row_bytes: Any) -> dict[tuple[int, int], Any]:
                return {(r, v): _place(builder, address, (row_bytes, r), v) for r, v in tile}

            before, loop, after = builder.block, *(builder.append_basic_block() for _ in range(2))
            builder.branch(loop)
            builder.position_at_end(loop)
            step = builder.phi(_LONG)
            step.add_incoming(_LONG(0), before)
            held = {at: builder.phi(_VECTOR) for at in tile}
            for at in tile:
                held[at].add_incoming(_constant(0.0), before)
            column = [_load(builder, _place(builder, b, (b_step, step), v)) for v in range(vectors)]
            added = {}
            for r in range(rows):
                one = builder.add(_place(builder, a, (a_step, step)), builder.mul(a_row, _LONG(r)))
                factor = _broadcast(builder, builder.load(builder.inttoptr(one, _FLOAT.as_pointer())))
                for v in range(vectors):
                    added[r, v] = _multiply_add(builder, factor, column[v], held[r, v])
            following = builder.add(step, _LONG(1))
            step.add_incoming(following, loop)
            for at in tile:
                held[at].add_incoming(added[at], loop)
            builder.cbranch(builder.icmp_signed("<", following, steps), loop, after)
            builder.position_at_end(after)
            more, places = each(start, start_row), each(c, c_row)
            for at in tile:
                _store(builder, builder.fadd(_load(builder, more[at]), added[at]), places[at])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), code

    return intrinsic(typed)


def _powers(_context: Any, score: Any, row_bytes: Any, rows: Any, total: Any) -> Any:
    """Code that replaces a column of vectors by powers of two, and adds them up at `total`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        score, row_bytes, rows, total = arguments
        before, loop, after = builder.block, *(builder.append_basic_block() for _ in range(2))
        builder.branch(loop)
        builder.position_at_end(loop)
        row, held = builder.phi(_LONG), builder.phi(_VECTOR)
        row.add_incoming(_LONG(0), before)
        held.add_incoming(_constant(0.0), before)
        place = _place(builder, score, (row_bytes, row))
        power = _power_of_two(builder, _load(builder, place))
        _store(builder, power, place)
        following, added = builder.add(row, _LONG(1)), builder.fadd(held, power)
        row.add_incoming(following, loop)
        held.add_incoming(added, loop)
        builder.cbranch(builder.icmp_signed("<", following, rows), loop, after)
        builder.position_at_end(after)
        _store(builder, builder.fadd(_load(builder, total), added), total)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), code


def _power_of_two(builder: Any, exponent: Any) -> Any:
    # A comparison with NaN is false: it stays, and is what comes out.
    low = builder.fcmp_ordered("<", exponent, _constant(_SMALLEST_EXPONENT))
    exponent = builder.select(low, _constant(_SMALLEST_EXPONENT), exponent)
    shifted = builder.fadd(exponent, _constant(_ROUNDING))
    fraction = builder.fsub(exponent, builder.fsub(shifted, _constant(_ROUNDING)))
    *lower, power = (_constant(float(number)) for number in _POWERS.coef)
    for number in reversed(lower):
        power = _multiply_add(builder, power, fraction, number)
    # The whole part is in the lowest bits of what was rounded; a float32's own exponent begins at bit 23.
    bits = builder.shl(builder.bitcast(shifted, _INTEGERS), ir.Constant(_INTEGERS, [23] * LANES))
    bits = builder.add(bits, ir.Constant(_INTEGERS, [127 << 23] * LANES))
    return builder.fmul(power, builder.bitcast(bits, _VECTOR))


def _place(builder: Any, address: Any, rows: tuple[Any, Any], vector: int = 0) -> Any:
    """The address so many rows, of so many bytes each, and vectors on."""
    row_bytes, number = rows
    number = _LONG(number) if isinstance(number, int) else number
    along = builder.add(builder.mul(row_bytes, number), _LONG(vector * LANES * NUMBER_BYTES))
    return builder.add(address, along)


def _load(builder: Any, address: Any) -> Any:
    loaded = builder.load(builder.inttoptr(address, _VECTOR.as_pointer()))
    loaded.align = NUMBER_BYTES
    return loaded


def _store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, builder.inttoptr(address, _VECTOR.as_pointer())).align = NUMBER_BYTES


def _constant(number: float) -> Any:
    return ir.Constant(_VECTOR, [number] * LANES)


def _broadcast(builder: Any, number: Any) -> Any:
    empty, zeros = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_INTEGERS, [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(empty, number, ir.IntType(32)(0)), empty, zeros)


def _multiply_add(builder: Any, one: Any, other: Any, more: Any) -> Any:
    wanted = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    named: Any = cgutils.get_or_insert_function
    return builder.call(named(builder.module, wanted, f"llvm.fma.v{LANES}f32"), [one, other, more])


replace_by_powers: Any = intrinsic(_powers)
"""replace_by_powers(score, row_bytes, num_rows, total): a column of vectors, each x of it by 2^x.

Their sums are added to the vector at `total`. x is at most 127, below -126 it counts as that; NaN stays.
"""
_wide, _wide_row, _thin, _thin_row = (
    _tile(rows, vectors) for vectors in (_VECTORS, 1) for rows in (_ROWS, 1)
)


@compiled
def add_product(
    a: int,
    a_row: int,
    a_step: int,
    b: int,
    b_step: int,
    start: int,
    start_row: int,
    c: int,
    c_row: int,
    num_rows: int,
    num_vectors: int,
    steps: int,
) -> None:
    """Writes c[r, v] = start[r, v] + sum_k a[r, k] b[k, v], over `steps` many k, one at least.

    c, start and b have `num_vectors` vectors a row; a_row and a_step: bytes from one r and one k to the next.
    """
    whole_rows, whole_vectors = num_rows - num_rows % _ROWS, num_vectors - num_vectors % _VECTORS
    for vector in range(0, whole_vectors, _VECTORS):
        at = vector * LANES * NUMBER_BYTES
        for r in range(0, whole_rows, _ROWS):
            begun, end = start + r * start_row + at, c + r * c_row + at
            _wide(a + r * a_row, a_row, a_step, b + at, b_step, begun, start_row, end, c_row, steps)
        for r in range(whole_rows, num_rows):
            begun, end = start + r * start_row + at, c + r * c_row + at
            _wide_row(a + r * a_row, a_row, a_step, b + at, b_step, begun, start_row, end, c_row, steps)
    for vector in range(whole_vectors, num_vectors):
        at = vector * LANES * NUMBER_BYTES
        for r in range(0, whole_rows, _ROWS):
            begun, end = start + r * start_row + at, c + r * c_row + at
            _thin(a + r * a_row, a_row, a_step, b + at, b_step, begun, start_row, end, c_row, steps)
        for r in range(whole_rows, num_rows):
            begun, end = start + r * start_row + at, c + r * c_row + at
            _thin_row(a + r * a_row, a_row, a_step, b + at, b_step, begun, start_row, end, c_row, steps)
