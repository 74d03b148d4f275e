"""How each kind of index is built for the contracts."""

from retrieval.index.spec import Geometry, IndexKind, IndexSpec

KINDS = [kind for kind in IndexKind if kind is not IndexKind.COMPILED]
"""Those that hold vectors; what is compiled is one of them."""
APPROXIMATE = (IndexKind.HNSW, IndexKind.PARTITIONED)


def spec_of(kind: IndexKind) -> IndexSpec:
    """A spec that needs no queries, and reads far into lists: random vectors are the hardest."""
    return IndexSpec(kind, geometry=Geometry.ITEMS, stop=6.0)
