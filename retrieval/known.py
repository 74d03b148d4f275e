"""Whom a release answers by name: by the ids of the service or their pseudonyms, and never one forgotten."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.profiles import ProfileHistories
from retrieval.release.store import current
from towers.data.privacy.forgotten import FORGOTTEN_FILE, ForgottenFile
from towers.data.privacy.pseudonyms import Pseudonyms
from towers.data.vocabulary import Vocabulary


def forgotten_of(path: Path) -> Path:
    """Where the list of the forgotten lies for a root of releases, or for a release in one."""
    return (path if current(path) is not None else path.parent) / FORGOTTEN_FILE


def without(profiles: ProfileHistories, rows: list[int]) -> ProfileHistories:
    """The profiles but those of these rows; the others in their order."""
    if not rows:
        return profiles
    kept = np.delete(np.arange(len(profiles.profiles)), rows)
    history = profiles.history.select(kept)
    return replace(
        profiles,
        profiles=Vocabulary(profiles.profiles.ids[row] for row in kept.tolist()),
        history=history,
        country=profiles.country[kept],
        as_of_seconds=int(history.time_seconds.max(initial=0)),
        features=None if profiles.features is None else profiles.features.take(pa.array(kept)),
    )


class KnownProfiles:
    """The profiles of a release, asked by the ids that a service has. Safe for any number of threads.

    stored: those that were not forgotten when it was made, under the ids that the release has.
    """

    def __init__(
        self,
        profiles: ProfileHistories,
        release_id: str,
        forgotten: ForgottenFile | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """ReleaseError where pseudonyms are given and those of the release are of another key, or none."""
        self._forgotten = forgotten
        # Nothing of a profile is read that nobody asks for.
        self._key = None if pseudonyms is None else pseudonyms.of_release(profiles.profiles.ids, release_id)
        self.stored = (
            profiles
            if forgotten is None
            else without(profiles, forgotten.now().places(profiles.profiles.ids))
        )

    @property
    def by_pseudonym(self) -> bool:
        """Whether profiles are asked for by other ids than the release has."""
        return self._key is not None

    def name(self, profile_id: str | None) -> str | None:
        """How the release names a profile; None of nobody, of one that it lacks, and of one forgotten by now.

        profile_id: as the service has it where pseudonyms were given, else as the release has it. Raises
        IntegrityError where the list of the forgotten is damaged.
        """
        if profile_id is None:
            return None
        name = profile_id if self._key is None else self._key.pseudonym(profile_id)
        if name not in self.stored.profiles:
            return None
        forgotten = self._forgotten
        return None if forgotten is not None and (name in forgotten or profile_id in forgotten) else name
