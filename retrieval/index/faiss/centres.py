"""Centres of vectors that lie together, by FAISS's k-means, and the nearest of them."""

from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64

# More rounds and a larger sample take longer and were not seen to find better lists.
_KMEANS_ROUNDS, _SAMPLE_PER_CENTRE = 12, 128


def cluster_centres(vectors: Float32[np.ndarray, "N D"], num: int, seed: int) -> Float32[np.ndarray, "L D"]:
    """The centres that k-means finds in a sample, as many as given; a function of the seed."""
    if num == len(vectors):
        return vectors.copy()
    means: Any = faiss.Kmeans(
        vectors.shape[1],
        num,
        niter=_KMEANS_ROUNDS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=_SAMPLE_PER_CENTRE,
    )
    means.train(np.ascontiguousarray(vectors))
    centres: np.ndarray = means.centroids
    return centres


def nearest_centres(
    vectors: Float32[np.ndarray, "N D"], centres: Float32[np.ndarray, "L D"], num: int
) -> Int64[np.ndarray, "N K"]:
    """The `num` centres nearest to each vector, nearest first."""
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(np.ascontiguousarray(centres))
    _, nearest = index.search(np.ascontiguousarray(vectors), min(num, len(centres)))
    found: np.ndarray = nearest
    return found
