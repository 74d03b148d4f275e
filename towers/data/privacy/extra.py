"""The library of the extra `privacy`, imported where it is needed: nobody else has to have it."""

from importlib import import_module
from types import ModuleType

from towers.errors import MissingExtraError


def cryptography(module: str) -> ModuleType:
    """A module of `cryptography` by its name below that; MissingExtraError where it is not installed."""
    try:
        return import_module(f"cryptography.{module}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "cryptography is not installed; expected the extra `privacy`: "
            "pip install 'two-tower-retrieval[privacy]'"
        ) from error
