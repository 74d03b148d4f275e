"""What rules cost over a synthetic catalogue: python -m tests.retrieval.eligibility.costs [titles].

Titles have two genres of 20 and two sub-genres of 200, eight people of a third as many as there are titles,
a director, a certificate, a year, an attribute of 50 values, and 0 to 5 licences in 12 countries.
"""

import resource
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from retrieval.catalogue import Catalogue
from retrieval.eligibility.compile import Eligibility, EligibilitySettings
from retrieval.eligibility.rules import (
    All,
    AttributeIn,
    Available,
    ForKids,
    GenresAny,
    ItemIn,
    LanguageIn,
    Not,
    PeopleAny,
    ReleaseYearBetween,
    Rule,
)
from towers.data.schema import ATTRIBUTES, ITEMS, LICENCES, TIME, table

NOW_SECONDS = 1_700_000_000
_DAY_MS = 86_400_000


def synthetic_items(num_items: int, seed: int = 7) -> pa.Table:
    """The catalogue described above."""
    rng = np.random.default_rng(seed)

    def names(prefix: str, num_names: int, size: int) -> pa.Array:
        known = pa.array([f"{prefix} {name}" for name in range(num_names)], pa.string())
        return known.take(pa.array(rng.integers(num_names, size=size)))

    def lists(prefix: str, num_names: int, length: int) -> pa.Array:
        offset = pa.array(np.arange(num_items + 1) * length, pa.int32())
        return pa.ListArray.from_arrays(offset, names(prefix, num_names, num_items * length))

    num_licences = rng.integers(6, size=num_items)
    offset = np.concatenate([[0], np.cumsum(num_licences)])
    start = NOW_SECONDS * 1000 + rng.integers(-2000, 1000, size=offset[-1]) * _DAY_MS
    end = start + rng.integers(30, 1000, size=offset[-1]) * _DAY_MS
    countries = pa.array(["US", "GB", "IN", "BR", "DE", "FR", "JP", "MX", "ES", "KR", "NG", "PL", None])
    licences = pa.StructArray.from_arrays(
        [
            countries.take(pa.array(rng.integers(13, size=offset[-1]))),
            pa.array(start).cast(TIME),
            pa.array(end).cast(TIME),
        ],
        fields=list(LICENCES.value_type),
    )
    attributes = pa.StructArray.from_arrays(
        [pa.array(["studio"] * num_items), names("Studio", 50, num_items)], fields=list(ATTRIBUTES.value_type)
    )
    certificates = pa.array(["G", "PG", "PG-13", "R", "TV-MA", "16+", "NR", None])
    return table(
        ITEMS,
        {
            "item_id": [f"i{row}" for row in range(num_items)],
            "title": pa.array(["A title"] * num_items),
            "release_year": pa.array(rng.integers(1950, 2025, size=num_items)),
            "genres": lists("Genre", 20, 2),
            "sub_genres": lists("Sub-genre", 200, 2),
            "cast": lists("Person", num_items // 3, 8),
            "directors": lists("Person", num_items // 3, 1),
            "language": names("Language", 40, num_items),
            "maturity": certificates.take(pa.array(rng.integers(8, size=num_items))),
            "licences": pa.ListArray.from_arrays(pa.array(offset, pa.int32()), licences),
            "attributes": pa.ListArray.from_arrays(
                pa.array(np.arange(num_items + 1), pa.int32()), attributes
            ),
        },
    )


RULES: dict[str, Rule] = {
    "available": Available("DE", NOW_SECONDS),
    "for kids": ForKids(),
    "genres any": GenresAny(("genre 3", "Sub-genre 17")),
    "people any": PeopleAny(("person 5", "person 6")),
    "language": LanguageIn(("language 1",)),
    "release year": ReleaseYearBetween(first=2000),
    "attribute": AttributeIn("studio", ("studio 8",)),
    "1,000 ids": ItemIn(tuple(f"i{row}" for row in range(0, 10_000, 10))),
}
RULES["five together"] = All(
    (
        Available("DE", NOW_SECONDS),
        ForKids(),
        LanguageIn(("language 1", "language 2")),
        ReleaseYearBetween(first=2000),
        Not(GenresAny(("Genre 4",))),
    )
)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The least CPU seconds that one of these times took: the machine may be shared."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def main(num_items: int) -> None:
    """Prints a line per rule: its first bitmap, with its columns read; one made anew; one from the cache."""
    catalogue = Catalogue(synthetic_items(num_items))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = Eligibility(catalogue)
    first = {name: seconds(partial(kept.bitmap, rule)) for name, rule in RULES.items()}
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    anew = Eligibility(catalogue, EligibilitySettings(max_cache_bytes=0))
    print(f"{num_items:,} titles{'':16} passes    first, ms   anew, µs  cached, µs")
    for name, rule in RULES.items():
        anew.bitmap(rule)
        fresh, cached = seconds(partial(anew.bitmap, rule), 20), seconds(partial(kept.bitmap, rule), 200)
        costs = f"{first[name] * 1e3:>13,.1f}{fresh * 1e6:>11,.0f}{cached * 1e6:>12,.1f}"
        print(f"{name:24}{kept.count(rule):>15,}{costs}")
    own = [All((RULES["five together"], PeopleAny((f"person {who}",)))) for who in range(1000)]
    print(f"1,000 rules of six, one each, in a batch: {seconds(partial(kept.bitmaps, own)) * 1e3:,.0f} ms")
    print(f"columns read in {sum(first.values()):.2f} s; the peak of memory rose by {added:,.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
