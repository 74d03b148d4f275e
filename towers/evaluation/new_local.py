"""Which titles are new, and which are local: made in the country of whoever asks."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from towers.data.days import SECONDS_PER_DAY
from towers.recommender import PAD

_UNKNOWN = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class NewAndLocal:
    """What tells new and local titles among N.

    released_seconds: int64 (N,), when each came out or came to the service, Unix seconds; the least number
    where the table does not say: such a title is never new.
    countries: str (C,), ISO 3166-1 alpha-2, sorted. made: bool (N, C), which title was produced where.
    """

    released_seconds: Int64[np.ndarray, " N"]
    countries: np.ndarray
    made: Bool[np.ndarray, "N C"]

    @classmethod
    def of(cls, items: pa.Table) -> "NewAndLocal":
        """From the columns `released` and `countries` of an items table, in its order."""
        released = items["released"].combine_chunks()
        seconds = pc.fill_null(released.cast(pa.int64()), 0).to_numpy() // 1000
        produced = items["countries"].combine_chunks()
        names = sorted(pc.unique(pc.list_flatten(produced).drop_null()).to_pylist())
        made = np.zeros((items.num_rows, len(names)), bool)
        code = pc.index_in(pc.list_flatten(produced), value_set=pa.array(names, pa.string()))
        title = pc.list_parent_indices(produced).filter(code.is_valid()).to_numpy()
        made[title, code.drop_null().to_numpy()] = True
        unknown = released.is_null().to_numpy(zero_copy_only=False)
        return cls(np.where(unknown, _UNKNOWN, seconds), np.array(names, dtype=np.str_), made)

    def new(
        self, item_row: Int64[np.ndarray, "Q M"], time_seconds: Int64[np.ndarray, " Q"], days: float
    ) -> Bool[np.ndarray, "Q M"]:
        """Whether each title came at most so many days before the moment of its line; false at PAD."""
        released = self.released_seconds[item_row]
        since = time_seconds[:, None] - np.where(released == _UNKNOWN, 0, released)
        known = (released != _UNKNOWN) & (item_row != PAD)
        found: np.ndarray = known & (since >= 0) & (since <= days * SECONDS_PER_DAY)
        return found

    def local(self, item_row: Int64[np.ndarray, "Q M"], country: np.ndarray) -> Bool[np.ndarray, "Q M"]:
        """Whether each title was made in the country of its line, str (Q,); false at PAD and of "" ."""
        if not len(self.countries):
            return np.zeros(item_row.shape, bool)
        place = np.minimum(np.searchsorted(self.countries, country), len(self.countries) - 1)
        known = self.countries[place] == country
        found: np.ndarray = self.made[item_row, place[:, None]] & known[:, None] & (item_row != PAD)
        return found
