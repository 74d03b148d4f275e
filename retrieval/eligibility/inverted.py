"""Inverted lists: which titles have each value of a column of names."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int32, Int64, UInt64

from retrieval.eligibility.hashes import hashes

_HALVES = re.compile("[\ud800-\udfff]")


def folded(name: str) -> str:
    """A name as names are compared: NFKC, case folded, NFKC again, as folding can undo it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


@dataclass(frozen=True, slots=True)
class InvertedLists:
    """Value v of a column stands in the titles row[offset[v]:offset[v + 1]].

    values: large_string (V,), folded and distinct, by their hashes, which are uint64 (V,), ascending.
    offset: int64 (V + 1,). row: int32 (E,), twice where a title has a value twice. Four bytes an entry, and
    sixteen and its text a value: a dictionary of Python strings would take ten times as much.
    """

    values: pa.Array
    hashes: UInt64[np.ndarray, " V"]
    offset: Int64[np.ndarray, " V1"]
    row: Int32[np.ndarray, " E"]

    def rows(self, names: Iterable[str]) -> Int32[np.ndarray, " n"]:
        """The titles of all of these names; a name that nobody has adds none."""
        # Half of a character, which a request may hold, stands in no column.
        spelled = [one for one in map(folded, names) if not _HALVES.search(one)]
        own, _ = hashes(pa.array(spelled, pa.large_string()))
        low, high = (np.searchsorted(self.hashes, own, side).tolist() for side in ("left", "right"))
        parts = [self.row[:0]]
        for name, start, stop in zip(spelled, low, high, strict=True):
            places = (place for place in range(start, stop) if self.values[place].as_py() == name)
            parts += [self.row[self.offset[place] : self.offset[place + 1]] for place in places]
        return np.concatenate(parts)


def invert(names: pa.ChunkedArray, row: Int64[np.ndarray, " E"]) -> InvertedLists:
    """The inverted lists of E names and the rows of their titles; null names are left out."""
    known = names.is_valid().to_numpy()
    if not known.all():
        names, row = names.drop_null(), row[known]
    spelled = _all_folded(names)
    first, second = hashes(spelled)
    # Whole numbers are sorted many times as fast as texts are, or as each is looked up among all: the upper
    # bits of the hash, and below them the place of the entry.
    bits = np.uint64(max(1, len(first).bit_length()))
    entry = np.sort((first >> bits << bits) | np.arange(len(first), dtype=np.uint64))
    order = (entry & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    alike, starts = _starts(entry >> bits), _starts(second[order])
    # Of a million values two may have the same upper bits: these few entries are sorted by both hashes whole.
    edge = np.append(np.flatnonzero(alike), len(order))
    for group in np.unique(np.searchsorted(edge, np.flatnonzero(starts & ~alike), side="right") - 1).tolist():
        mixed = order[edge[group] : edge[group + 1]]
        mixed[:] = mixed[np.lexsort((second[mixed], first[mixed]))]
        starts[edge[group] : edge[group + 1]] = _starts(first[mixed]) | _starts(second[mixed])
    start = np.flatnonzero(starts | alike)
    return InvertedLists(
        spelled.take(pa.array(order[start])),
        first[order[start]],
        np.append(start, len(order)),
        row[order].astype(np.int32),
    )


def _starts(values: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Where a value is another than the one before it."""
    starts = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=starts[1:])
    return starts


def _all_folded(names: pa.ChunkedArray) -> pa.Array:
    """Each name `folded`, as large_string: those of ASCII alone, which most are, at once."""
    whole = names.cast(pa.large_string()).combine_chunks()
    lower, ascii_ = pc.ascii_lower(whole), pc.string_is_ascii(whole)
    if pc.all(ascii_, min_count=0).as_py():
        return lower
    others = pc.invert(ascii_)
    encoded = whole.filter(others).dictionary_encode()
    spelled = pa.array(list(map(folded, encoded.dictionary.to_pylist())), pa.large_string())
    return pc.replace_with_mask(lower, others, spelled.take(encoded.indices))


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
