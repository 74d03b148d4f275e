"""Vectors cut short: by themselves, so that serving can do it without what evaluation needs."""

import numpy as np
from jaxtyping import Float32


def cut(vectors: Float32[np.ndarray, "*n D"], dim: int) -> Float32[np.ndarray, "*n d"]:
    """The first `dim` numbers of each vector, of unit length again; of zeros they stay zeros."""
    first = vectors[..., :dim]
    length = np.linalg.norm(first, axis=-1, keepdims=True)
    unit: np.ndarray = (first / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32, copy=False)
    return unit
