"""Libraries of the optional extras `ladder` and `audit`, imported only by what needs them."""

from importlib import import_module
from types import ModuleType

from towers.errors import MissingExtraError


def of_extra(module: str, user: str, extra: str = "ladder") -> ModuleType:
    """The module of that name. Raises MissingExtraError, naming the extra, where it is not installed.

    user: what asks for it, as the message begins.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{user}: {error.name} is not installed; expected the extra `{extra}`: "
            f"pip install 'two-tower-retrieval[{extra}]'"
        ) from error
