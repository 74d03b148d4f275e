"""How rare what falls into a hash bucket is among the training texts, and what it weighs for that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from towers.errors import SchemaError


@dataclass(frozen=True, slots=True, eq=False)
class Rarity:
    """The buckets of the training texts, counted.

    num_texts: training texts that are not null. count: int64 (buckets,), how many of them have anything in
    each bucket.
    """

    num_texts: int
    count: Int64[np.ndarray, " b"]

    @staticmethod
    def fitted(num_texts: int, bucket: Int64[np.ndarray, " V"], num_buckets: int) -> "Rarity":
        """Counted over the buckets of all training texts, each once per text."""
        return Rarity(num_texts, np.bincount(bucket, minlength=num_buckets))

    def weights(self, bucket: Int64[np.ndarray, " V"], min_count: int) -> Float64[np.ndarray, " V"]:
        """What stands in each bucket weighs log(1 + texts / (1 + texts with it)), its inverse frequency.

        A word that half of the titles have says little of one, and is in the way of what does. 0 where fewer
        than `min_count` training texts, or none, have anything in the bucket: nothing was learned there.
        Source: Spärck Jones 1972, doi:10.1108/eb026526.
        """
        count = self.count[bucket]
        rare: np.ndarray = np.log1p(self.num_texts / (1.0 + count))
        return np.where(count >= max(1, min_count), rare, 0.0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rarity):
            return NotImplemented
        return self.num_texts == other.num_texts and np.array_equal(self.count, other.count)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `from_json` reads them back."""
        return {"num_texts": self.num_texts, "count": self.count.tolist()}

    @staticmethod
    def from_json(read: Mapping[str, Any], num_buckets: int, key: str) -> "Rarity":
        """What `to_json` wrote; SchemaError where it is not of so many buckets."""
        num_texts, count = read["num_texts"], np.asarray(read["count"], np.int64)
        if count.shape != (num_buckets,) or (count < 0).any() or (count > num_texts).any():
            raise SchemaError(
                f"{key}: counts of {len(count)} buckets over {num_texts} texts; expected {num_buckets}, none "
                "above the number of texts"
            )
        return Rarity(num_texts, count)
