"""Libraries of the optional extra `ladder`, imported only by the rungs that fit with them."""

from importlib import import_module
from types import ModuleType

from towers.errors import MissingExtraError


def of_extra(module: str, rung: str) -> ModuleType:
    """The module of that name. Raises MissingExtraError, naming the extra, where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{rung}: {error.name} is not installed; expected the extra `ladder`: "
            "pip install 'two-tower-retrieval[ladder]'"
        ) from error
