"""What controls come to over one release: a rule, rows of the history that do not count, or no history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from retrieval.control.controls import NO_CONTROLS, Controls
from retrieval.eligibility.rules import All, ForKids, GenresAny, ItemIn, MaturityAtMost, Not, PeopleAny, Rule
from towers.data.histories import Histories
from towers.data.vocabulary import OOV, Vocabulary

LESS_LIKE = 50
"""So many of the titles most like one of which less is wanted are not shown, and no more than one in ten."""
_KEPT = 4096


def _no_rows() -> Int64[np.ndarray, " n"]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one profile may be shown, and what of it may be read.

    rule: None where it may be shown every title. hidden: rows whose events do not count, ascending.
    personalised: whether its stored profile may be read at all.
    """

    rule: Rule | None = None
    hidden: Int64[np.ndarray, " n"] = field(default_factory=_no_rows)
    personalised: bool = True

    def within(self, rule: Rule | None) -> Rule | None:
        """The rule of a request and that of the profile, both."""
        return rule if self.rule is None else both(rule, self.rule)


EVERYTHING = View()
"""The view of a profile that decided nothing, and of nobody."""


def both(one: Rule | None, other: Rule | None) -> Rule | None:
    """The titles that pass both rules; None, every title, where there is none."""
    rules = tuple(rule for rule in (one, other) if rule is not None)
    return All(rules) if len(rules) > 1 else next(iter(rules), None)


class Viewing:
    """Controls → views over one release. Safe for any number of threads.

    items: ids of its catalogue. similar: a row and how many → the rows most like it, nearest first.
    """

    def __init__(self, items: Vocabulary, similar: Callable[[int, int], Int64[np.ndarray, " n"]]) -> None:
        self._items = items
        num_near = min(LESS_LIKE, len(items) // 10)
        self._near = lru_cache(_KEPT)(
            lambda row: tuple(items.ids[one] for one in similar(row, num_near).tolist())
        )

    def view(self, controls: Controls) -> View:
        """What these controls come to."""
        if controls is NO_CONTROLS or controls == NO_CONTROLS:  # field by field would take a while
            return EVERYTHING
        hidden = self._rows((*controls.removed, *controls.less_like))
        rules = [rule for _, rule in self.rules(controls)]
        return View(All(tuple(rules)) if rules else None, np.unique(hidden), controls.personalised)

    def rules(self, controls: Controls) -> list[tuple[str, Rule]]:
        """What may be shown, a rule for each control that says something of it, by the control's name."""
        near = [one for row in self._rows(controls.less_like).tolist() for one in self._near(row)]
        ceiling: Rule | None = None
        if controls.age_limit is not None:
            ceiling = ForKids(controls.age_limit) if controls.kids else MaturityAtMost(controls.age_limit)
        rules: list[tuple[str, Rule | None]] = [
            ("excluded_genres", _no(GenresAny, controls.excluded_genres)),
            ("excluded_people", _no(PeopleAny, controls.excluded_people)),
            ("excluded_items", _no(ItemIn, controls.excluded_items)),
            ("less_like", _no(ItemIn, (*controls.less_like, *near))),
            ("kids" if controls.kids else "max_age", ceiling),
        ]
        return [(name, rule) for name, rule in rules if rule is not None]

    def _rows(self, item_ids: Sequence[str]) -> Int64[np.ndarray, " n"]:
        row = self._items.rows(list(item_ids))
        known: np.ndarray = row[row != OOV]
        return known


def _no(kind: type[GenresAny] | type[PeopleAny] | type[ItemIn], names: tuple[str, ...]) -> Rule | None:
    return Not(kind(names)) if names else None


def without(history: Histories, views: Sequence[View]) -> Histories:
    """Each profile's history without the events that its view hides; the same where no view hides any."""
    if all(view is EVERYTHING or len(view.hidden) == 0 for view in views):
        return history
    kept = np.ones(history.num_events, bool)
    for line, view in enumerate(views):
        if len(view.hidden):
            events = slice(history.offset[line], history.offset[line + 1])
            kept[events] = ~np.isin(history.item_row[events], view.hidden)
    return history.only(kept)
