"""How each kind of index is built for the contracts."""

from dataclasses import replace

from retrieval.index.spec import Codes, Device, Geometry, IndexKind, IndexSpec

# Needs no queries, and searches far: random vectors are the hardest.
_FAR = IndexSpec(geometry=Geometry.ITEMS, stop=6.0, nprobe=96, refine_factor=4.0, device=Device.CPU)

# Of few coordinates one bit each says little.
_MORE = {Codes.RABITQ: 400}

SPECS = [
    replace(_FAR, kind=kind, codes=codes, extra_candidates=_MORE.get(codes, 20))
    for kind in IndexKind
    if kind is not IndexKind.COMPILED
    for codes in (Codes if kind is IndexKind.IVF else (Codes.FLAT,))
]
"""Those that hold vectors, with every code where there are several; what is compiled is one of them."""
APPROXIMATE = (IndexKind.HNSW, IndexKind.IVF, IndexKind.PARTITIONED)


def name_of(spec: IndexSpec) -> str:
    """The kind, and the code where there are several."""
    return f"{spec.kind}-{spec.codes}" if spec.kind is IndexKind.IVF else str(spec.kind)
