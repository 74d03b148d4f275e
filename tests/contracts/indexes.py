"""How each kind of index is built for the contracts."""

from dataclasses import replace

import faiss
import torch

from retrieval.index.spec import Codes, Device, Geometry, IndexKind, IndexSpec

# Needs no queries, and searches far: random vectors are the hardest.
_FAR = IndexSpec(geometry=Geometry.ITEMS, stop=6.0, nprobe=96, refine_factor=4.0, device=Device.CPU)

# Of few coordinates one bit each says little.
_MORE = {Codes.RABITQ: 400}

_CODES = {IndexKind.IVF: tuple(Codes), IndexKind.GPU_IVF: (Codes.FLAT, Codes.SQ8)}

FAISS_GPUS: int = getattr(faiss, "get_num_gpus", int)()
"""GPUs that FAISS as it is installed searches on; its CPU build has none."""
_BOTH = (Device.CPU, Device.CUDA)
_DEVICES = {
    IndexKind.GPU: _BOTH if torch.cuda.is_available() else (Device.CPU,),
    IndexKind.GPU_IVF: _BOTH if FAISS_GPUS else (Device.CPU,),
}

SPECS = [
    replace(_FAR, kind=kind, codes=codes, device=device, extra_candidates=_MORE.get(codes, 20))
    for kind in IndexKind
    if kind is not IndexKind.COMPILED
    for codes in _CODES.get(kind, (Codes.FLAT,))
    for device in _DEVICES.get(kind, (Device.CPU,))
]
"""Those that hold vectors, with every code where there are several, and on a GPU where there is one; what is
compiled is one of them."""
APPROXIMATE = (IndexKind.HNSW, IndexKind.IVF, IndexKind.GPU_IVF, IndexKind.PARTITIONED)


def name_of(spec: IndexSpec) -> str:
    """The kind, the code where there are several, and where it is searched if that is a GPU."""
    codes = (str(spec.codes),) if spec.kind in _CODES else ()
    device = (str(spec.device),) if spec.device is Device.CUDA else ()
    return "-".join((str(spec.kind), *codes, *device))
