"""What a viewer has decided: what is never shown, what counts for nothing, and how far both may be undone."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from retrieval.eligibility.rules import KIDS_AGE
from towers.errors import ControlsError

MAX_NAMES = 1_000
"""Names or ids of one kind; more are no decision of a person."""
MAX_AGE = 99
_LISTS = ("excluded_genres", "excluded_people", "excluded_items", "less_like", "removed")


@dataclass(frozen=True, slots=True)
class Controls:
    """The decisions of one profile; the default decides nothing.

    excluded_genres, excluded_people, excluded_items: never shown; genres and people as rules compare names,
    titles by id. less_like: titles of which less is wanted: they and those most like them are never shown,
    and where they were watched, that counts for nothing. removed: titles taken out of the history: who
    watched them is answered as if it never had.
    personalised: False answers as a newcomer of the country is answered, and nothing of the profile is read.
    max_age: certificates up to this age alone; None is no limit. kids: titles for kids alone, up to max_age,
    or KIDS_AGE where that is None. Ids that a catalogue lacks do nothing, until it has them.
    """

    excluded_genres: tuple[str, ...] = ()
    excluded_people: tuple[str, ...] = ()
    excluded_items: tuple[str, ...] = ()
    less_like: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    personalised: bool = True
    max_age: int | None = None
    kids: bool = False

    def __post_init__(self) -> None:
        _check({item.name: getattr(self, item.name) for item in fields(self)})

    @property
    def age_limit(self) -> int | None:
        """The age whose certificates are the last that are shown; None without a limit."""
        return KIDS_AGE if self.kids and self.max_age is None else self.max_age

    def to_json(self) -> str:
        """The text that `controls_from_json` reads back."""
        return json.dumps(asdict(self), ensure_ascii=False)


def controls_from_json(text: str) -> Controls:
    """The controls that `to_json` wrote; ControlsError, which holds nothing of them, on any other text."""
    try:
        read = json.loads(text)
    except ValueError as error:
        raise ControlsError("controls: are no JSON; expected what was written") from error
    names = {item.name for item in fields(Controls)}
    if not isinstance(read, dict) or set(read) != names:
        raise ControlsError(f"controls: are not whole; expected an object of {', '.join(sorted(names))}")
    lists = {name: tuple(read[name]) if isinstance(read[name], list) else read[name] for name in _LISTS}
    values = {**read, **lists}
    _check(values)
    return Controls(**values)


def loosens(before: Controls, after: Controls) -> bool:
    """Whether a change opens what a PIN keeps shut.

    That is a higher limit of age, or none; and of a kids profile anything that shows more: to be one no
    longer, or to exclude less.
    """
    if before.age_limit is not None and (after.age_limit is None or after.age_limit > before.age_limit):
        return True
    if not before.kids:
        return False
    excluding = ("excluded_genres", "excluded_people", "excluded_items", "less_like")
    return not after.kids or any(set(getattr(before, one)) - set(getattr(after, one)) for one in excluding)


def _check(values: Mapping[str, Any]) -> None:
    """Raises ControlsError, which holds no name, unless these can be the fields of controls."""
    for name in _LISTS:
        names = values[name]
        if not isinstance(names, tuple) or not all(isinstance(one, str) and one for one in names):
            raise ControlsError(f"controls: {name} is no tuple of names that are not empty")
        if len(names) > MAX_NAMES:
            raise ControlsError(f"controls: {name} has {len(names)} names; expected <= {MAX_NAMES}")
    for name in ("personalised", "kids"):
        if not isinstance(values[name], bool):
            raise ControlsError(f"controls: {name} is neither true nor false")
    age = values["max_age"]
    if age is not None and (type(age) is not int or not 0 <= age <= MAX_AGE):
        raise ControlsError(
            f"controls: max_age is no whole number of years; expected 0 to {MAX_AGE}, or none"
        )


NO_CONTROLS = Controls()
"""Those of who decided nothing."""
