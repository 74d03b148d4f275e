"""What of people passes into the tables, batch by batch: who is forgotten, what is too old, whose it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from towers.data.ingest.report import Rule
from towers.data.privacy.forgotten import Forgotten
from towers.data.privacy.pseudonyms import PseudonymKey, Whose, read_pseudonyms
from towers.data.privacy.settings import PrivacySettings

_IDS = {"profile_id": Whose.PROFILE, "household_id": Whose.HOUSEHOLD}
_MOMENT = {"events": "start", "queries": "time"}
_OF_PEOPLE = ("events", "profiles", "queries")


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows that passed, and how many did not, by rule."""

    rows: pl.DataFrame
    withheld: Mapping[Rule, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Guard:
    """Stands where rows of people come in; without settings everything passes as it is.

    key: makes the pseudonyms; None leaves ids as they are. oldest_ms: the first moment that is kept.
    """

    settings: PrivacySettings = field(default_factory=PrivacySettings)
    key: PseudonymKey | None = None
    forgotten: Forgotten = field(default_factory=Forgotten)
    oldest_ms: int | None = None

    def withholds(self, table: str) -> bool:
        """Whether of a rejected row of this table nothing is shown but where it stands."""
        return table in _OF_PEOPLE and (self.settings.withhold_rejected or self.key is not None)

    def kept(self, table: str, rows: pl.DataFrame) -> Kept:
        """What passes of checked rows of a table, under the ids that it has in the tables."""
        if table not in _OF_PEOPLE:
            return Kept(rows)
        withheld = {}
        if self.forgotten and "profile_id" in rows.columns:
            ids = rows["profile_id"].drop_nulls().unique().to_list()
            gone = [id_ for id_ in ids if self._is_forgotten(id_)]
            known = rows["profile_id"].is_in(gone).fill_null(False)
            withheld[Rule.FORGOTTEN] = int(known.sum())
            rows = rows.filter(~known)
        if self.oldest_ms is not None and table in _MOMENT:
            old = (rows[_MOMENT[table]].dt.epoch("ms") < self.oldest_ms).fill_null(False)
            withheld[Rule.RETENTION] = int(old.sum())
            rows = rows.filter(~old)
        if self.key is not None:
            rows = rows.with_columns(
                _by_id(rows[name], _pseudonym(self.key, whose))
                for name, whose in _IDS.items()
                if name in rows.columns
            )
        return Kept(rows, withheld)

    def _is_forgotten(self, id_: str) -> bool:
        """Whether a profile is, by its id or, where only that was known, by its pseudonym."""
        return id_ in self.forgotten or (self.key is not None and self.key.pseudonym(id_) in self.forgotten)


def guard_of(settings: PrivacySettings, forgotten: Forgotten) -> Guard:
    """The guard of an ingest. Raises what `read_pseudonyms` and `PrivacySettings.oldest_ms` raise."""
    key = None if settings.key is None else read_pseudonyms(settings.key).newest
    return Guard(settings, key, forgotten, settings.oldest_ms())


def _pseudonym(key: PseudonymKey, whose: Whose) -> Callable[[str], str]:
    return lambda id_: key.pseudonym(id_, whose)


def _by_id(ids: pl.Series, of: Callable[[str], str]) -> pl.Series:
    """What a function makes of each id, asked once of each that is there; null where there is none."""
    distinct = ids.drop_nulls().unique()
    made = pl.Series([of(id_) for id_ in distinct.to_list()], dtype=pl.String)
    return ids.replace_strict(distinct, made, default=None, return_dtype=pl.String)
