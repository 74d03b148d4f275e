"""Who asks one release: whom it knows by name, what they decided, and their requests as queries."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Int64

from retrieval.control.controls import NO_CONTROLS, Controls
from retrieval.control.store import ReadsControls
from retrieval.control.view import EVERYTHING, View, Viewing
from retrieval.index.allowed import Allowed
from retrieval.known import KnownProfiles
from retrieval.lists import ListAnswers
from retrieval.profiles import ProfileHistories
from retrieval.release.read import Release
from retrieval.requests import Asked, GivenHistory, asked, check_part, questions, text_or_none
from retrieval.vectors import VectorAnswers
from towers.data.privacy.forgotten import ForgottenFile
from towers.data.privacy.pseudonyms import Pseudonyms
from towers.errors import QueryError, UnknownIdError
from towers.recommender import PAD, Queries


class Askers:
    """Requests → queries over one release, by the controls of who asks. Safe for any number of threads.

    controls, forgotten, pseudonyms: as of `Retriever`, and of `Retriever.open`. viewing: what any controls
    come to over this release.
    """

    def __init__(
        self,
        release: Release,
        controls: ReadsControls | None = None,
        forgotten: ForgottenFile | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._release_id, self._items = release.release_id, release.catalogue.vocabulary
        self._known = KnownProfiles(release.profiles, release.release_id, forgotten, pseudonyms)
        self._controls = controls
        self.viewing = Viewing(self._items, partial(_nearest, release.answers))

    @property
    def stored(self) -> ProfileHistories:
        """The profiles that were not forgotten when the release was opened, under the ids that it has."""
        return self._known.stored

    def history(self, profile_id: str) -> Int64[np.ndarray, " n"]:
        """Rows that a profile watched, oldest first, but for what it removed; see `Retriever.history`."""
        profiles, name = self.stored, self._known.name(profile_id)
        if name is None:
            raise UnknownIdError(
                f"the profile asked for is not among the {len(profiles.profiles)} of {self._release_id}"
            )
        watched = profiles.history.of(profiles.profiles.row(name)).item_row
        removed = self._items.rows(list(self.controls(profile_id).removed))
        kept: np.ndarray = watched[~np.isin(watched, removed)]
        return kept

    def controls(self, profile_id: str | None) -> Controls:
        """What a profile decided; nothing, where nobody is named. ControlsError where they cannot be read."""
        text_or_none("profile_id", profile_id)  # bytes would be asked for as another profile than their text
        if self._controls is None or profile_id is None:
            return NO_CONTROLS
        return self._controls.of(profile_id)

    def view(self, profile_id: str | None) -> View:
        """What a profile may be shown, and what of it may be read, by its controls now."""
        return self.viewing.view(self.controls(profile_id))

    def views(self, first: int, last: int) -> list[View]:
        """The views of the profiles first to last - 1 of `stored`; see `Retriever.views`."""
        check_part(first, last, len(self.stored.profiles))
        if self._controls is None:
            return [EVERYTHING] * (last - first)
        if self._known.by_pseudonym:
            raise QueryError("views: controls are of ids, profiles of pseudonyms; expected to be asked by id")
        return list(map(self.viewing.view, self._controls.of_many(self.stored.profiles.ids[first:last])))

    def asked(
        self,
        profile_id: str | None,
        history: GivenHistory | None,
        country: str | None,
        time_seconds: int | None,
        view: View,
    ) -> Asked:
        """The query of one request; see `Retriever.recommend`. view: that of the profile."""
        name = self._known.name(profile_id) if view.personalised else None
        return asked(self.stored, self._items, name, history, country, time_seconds, view)

    def questions(
        self, first: int, last: int, time_seconds: int | None, views: Sequence[View] | None
    ) -> Queries:
        """The queries of the profiles first to last - 1 of `stored`; see `Retriever.questions`."""
        return questions(self.stored, first, last, time_seconds, views)


def _nearest(answers: VectorAnswers | ListAnswers, row: int, num: int) -> Int64[np.ndarray, " n"]:
    """The titles most like one, nearest first."""
    found = answers.similar(row, num, Allowed.but(np.array([0, 1]), np.array([row]))).item_row[0]
    near: np.ndarray = found[found != PAD]
    return near
