"""What tests check of every call in `towers` and `retrieval`: shapes by jaxtyping, other types by beartype.

jaxtyping's import hook wraps each function so that shapes agree across its arguments and what it returns.
Its wrapper binds the arguments, checks them twice, and takes beartype twice to make. Where no hint names an
array, beartype alone checks the same. And a function within a function is made anew at every call of the
outer one: to wrap it takes longer than most calls take. Where it names no array, it is left to mypy.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from types import FunctionType
from typing import Any, get_args

import jaxtyping
from jaxtyping import AbstractArray

_wrapped = jaxtyping.jaxtyped


def install() -> None:
    """Checks what is imported from here on."""
    # The hook writes this name above each function and class, and finds there what it is given here.
    setattr(jaxtyping, "jaxtyped", _checked)  # noqa: B010
    jaxtyping.install_import_hook(["towers", "retrieval"], "beartype.beartype")


def _checked(made: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """The decorator of every function, and of every class: of dataclasses it checks how they are made."""
    if made is None:
        return functools.partial(_checked, typechecker=typechecker)
    if isinstance(made, FunctionType) and not _names_arrays(made):
        return made if "<locals>" in made.__qualname__ else typechecker(made)
    init = vars(made).get("__init__") if is_dataclass(made) else None
    if isinstance(init, FunctionType) and not _names_arrays(init):
        setattr(made, "__init__", typechecker(init))  # noqa: B010
        return made
    return _wrapped(made, typechecker=typechecker)


def _names_arrays(function: FunctionType) -> bool:
    """Whether a hint names an array; or is text, in which one may be named."""
    return any(map(_names_an_array, function.__annotations__.values()))


def _names_an_array(hint: Any) -> bool:
    if isinstance(hint, str) or (inspect.isclass(hint) and issubclass(hint, AbstractArray)):
        return True
    # A Callable has a list of hints among its own.
    return any(map(_names_an_array, hint if isinstance(hint, list) else get_args(hint)))
