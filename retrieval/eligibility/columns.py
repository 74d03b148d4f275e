"""The columns of an items table in the forms that rules are compiled from, each made when first asked for."""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int8, Int16

from retrieval.eligibility.certificates import minimum_age
from retrieval.eligibility.inverted import (
    attribute_names,
    invert,
    invert_attribute,
    invert_lists,
)
from retrieval.eligibility.licences import Licences

T = TypeVar("T")

UNKNOWN_AGE = 127
"""Above every age that a rule can name."""
UNKNOWN_YEAR = -1
"""Below every year that a rule can name."""


class Once(Generic[T]):
    """What the first caller makes and all get; those that come while it is made wait."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._lock = Lock()

    @property
    def made(self) -> T | None:
        """What was made; None where nobody called yet, or while it is made."""
        return self._made

    def __call__(self) -> T:
        """What was made."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


class Columns:
    """The columns of an items table (`towers.data.schema.ITEMS`), each called for: `columns.genres()`.

    Safe for any number of threads. genres are those and sub-genres; people are cast and directors.
    """

    def __init__(self, items: pa.Table) -> None:
        self.licences: Once[Licences] = Once(lambda: Licences(items["licences"]))
        self.minimum_age = Once(lambda: _minimum_age(items["maturity"]))
        self.release_year = Once(lambda: _release_year(items["release_year"]))
        self.language = Once(lambda: invert(items["language"], np.arange(items.num_rows)))
        self.genres = Once(lambda: invert_lists(items, "genres", "sub_genres"))
        self.people = Once(lambda: invert_lists(items, "cast", "directors"))
        self.countries = Once(lambda: invert_lists(items, "countries"))
        self.attributes = Once(
            lambda: {name: Once(partial(invert_attribute, items, name)) for name in attribute_names(items)}
        )
        """By folded name; called for once more: `columns.attributes()["studio"]()`."""


def _minimum_age(certificates: pa.ChunkedArray) -> Int8[np.ndarray, " N"]:
    """The age of each title's certificate; UNKNOWN_AGE where it says none."""
    encoded = certificates.combine_chunks().dictionary_encode()
    ages = [minimum_age(certificate) for certificate in encoded.dictionary.to_pylist()]
    age = np.array([*(UNKNOWN_AGE if age is None else age for age in ages), UNKNOWN_AGE], np.int8)
    of_title: np.ndarray = age[pc.fill_null(encoded.indices, len(ages)).to_numpy()]
    return of_title


def _release_year(years: pa.ChunkedArray) -> Int16[np.ndarray, " N"]:
    """The year of each title; UNKNOWN_YEAR where it is null."""
    year: np.ndarray = pc.fill_null(years, UNKNOWN_YEAR).to_numpy()
    return year
