"""Functions in machine code."""

import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., object])


def machine_code(function: Function, flags: set[str]) -> Function:
    """The function in machine code, made for this processor when it is first called, and kept beside it.

    flags: what may be done to sums of floats, LLVM's fast-math flags. What is kept is made anew when its own
    file changes, not when another does that it calls into. It holds no interpreter lock.
    """
    # What checks shapes in tests wraps every function; a wrapper is no code for a kernel.
    plain = inspect.unwrap(function)
    try:
        made: Any = numba.njit(nogil=True, cache=True, fastmath=flags, error_model="numpy")(plain)
    except RuntimeError:  # no folder to keep it in: neither beside the module nor the user's own
        return cast(Function, numba.njit(nogil=True, fastmath=flags, error_model="numpy")(plain))
    keep = made._cache.save_overload

    def keep_if_possible(signature: object, code: object) -> None:
        try:
            keep(signature, code)
        except OSError as error:  # a full disk must not keep a query from its answer
            log.warning("machine code not kept function=%s reason=%s", plain.__name__, error)

    made._cache.save_overload = keep_if_possible
    return cast(Function, made)
