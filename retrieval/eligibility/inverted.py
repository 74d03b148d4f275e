"""Inverted lists: which titles have each value of a column of names."""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int32, Int64


def folded(name: str) -> str:
    """A name as names are compared: NFKC, case folded, NFKC again, as folding can undo it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


@dataclass(frozen=True, slots=True)
class InvertedLists:
    """Value v of a column stands in the titles row[offset[v]:offset[v + 1]].

    values: large_string (V,), folded, distinct and sorted. offset: int64 (V + 1,).
    row: int32 (E,), in order within a value, twice where a title has it twice. Four bytes an entry, and eight
    and its text a value: a dictionary of Python strings would take ten times as much.
    """

    values: pa.Array
    offset: Int64[np.ndarray, " V1"]
    row: Int32[np.ndarray, " E"]

    def rows(self, names: Iterable[str]) -> Int32[np.ndarray, " n"]:
        """The titles of all of these names; a name that nobody has adds none."""
        parts = [self.row[:0]]
        for value in map(folded, names):
            # Arrow sorts by UTF-8 bytes and Python compares code points: the same order.
            place = bisect_left(range(len(self.values)), value, key=lambda at: self.values[at].as_py())
            if place < len(self.values) and self.values[place].as_py() == value:
                parts.append(self.row[self.offset[place] : self.offset[place + 1]])
        return np.concatenate(parts)


def invert(names: pa.ChunkedArray, row: Int64[np.ndarray, " E"]) -> InvertedLists:
    """The inverted lists of E names and the rows of their titles; null names are left out."""
    encoded = names.cast(pa.large_string()).combine_chunks().dictionary_encode()
    spelled = pa.array(list(map(folded, encoded.dictionary.to_pylist())), pa.large_string())
    values = spelled.unique().sort()
    place = pc.index_in(spelled, value_set=values).to_numpy()
    known = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
    value = place[encoded.indices.drop_null().to_numpy()].astype(np.int64)
    # One sort of both in one number; rows and values are fewer than 2^31.
    entry = np.sort(value << 32 | row[known])
    offset = np.searchsorted(entry, np.arange(len(values) + 1) << 32)
    return InvertedLists(values, offset, (entry & 0x7FFFFFFF).astype(np.int32))


def flattened(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Int64[np.ndarray, " E"]]:
    """The entries of a column of lists, and the row of each; null lists have none."""
    length = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    return pc.list_flatten(column), np.repeat(np.arange(len(column)), length)


def invert_lists(items: pa.Table, *columns: str) -> InvertedLists:
    """The inverted lists of names in columns of lists, taken together."""
    parts = [flattened(items[column]) for column in columns]
    names = pa.chunked_array([chunk for entries, _ in parts for chunk in entries.chunks], pa.string())
    return invert(names, np.concatenate([row for _, row in parts]))


def attribute_names(items: pa.Table) -> frozenset[str]:
    """The names that attributes have, folded."""
    entries, _ = flattened(items["attributes"])
    names = pc.struct_field(entries, "name").unique().drop_null()
    return frozenset(map(folded, names.to_pylist()))


def invert_attribute(items: pa.Table, name: str) -> InvertedLists:
    """The inverted lists of the values that the attribute of this folded name has."""
    entries, row = flattened(items["attributes"])
    names = pc.struct_field(entries, "name")
    spellings = [one for one in names.unique().drop_null().to_pylist() if folded(one) == name]
    of_name = pc.is_in(names, value_set=pa.array(spellings, pa.string()))
    values = pc.struct_field(entries, "value").filter(of_name)
    return invert(values, row[of_name.to_numpy()])
