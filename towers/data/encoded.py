"""Titles and profiles as the numbers that networks read: embedding rows and standardised values."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64


@dataclass(frozen=True, slots=True)
class Bags:
    """Rows of a feature with several values, and their weights in the sum, packed.

    Item i has row[offset[i]:offset[i + 1]] and weight[offset[i]:offset[i + 1]].
    """

    offset: Int64[np.ndarray, " N1"]
    row: Int64[np.ndarray, " V"]
    weight: Float32[np.ndarray, " V"]


@dataclass(frozen=True, slots=True)
class EncodedItems:
    """N items in numbers.

    categorical: int64 (N,) per feature, embedding rows, 0 out of vocabulary.
    bags: Bags of N items per feature with several values, embedding rows, never 0. The weights of an item's
    values add up to 1, so that their sum is their mean; of a text, their squares do.
    numeric: float32 (N, 2F), the F standardised values (0 where unknown), then F flags, 1 where known.
    vectors: float32 (N, E + 1) per feature, the standardised vectors (0 where unknown), then the flag.
    moments: float32 (N,) per feature, days since 1970, right to three minutes; NaN where unknown.
    described: bool (N,), whether anything is known of an item beside its id.
    """

    categorical: dict[str, Int64[np.ndarray, " N"]]
    bags: dict[str, Bags]
    numeric: Float32[np.ndarray, "N F2"]
    vectors: dict[str, Float32[np.ndarray, "N _"]]
    moments: dict[str, Float32[np.ndarray, " N"]]
    described: Bool[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.numeric)


@dataclass(frozen=True, slots=True)
class EncodedProfiles:
    """P profiles in numbers.

    row: int32 (P, C), embedding rows of the C categorical features in their order, 0 out of vocabulary.
    numeric: float32 (P, 2F), as in EncodedItems.
    """

    row: Int32[np.ndarray, "P C"]
    numeric: Float32[np.ndarray, "P F2"]

    def __len__(self) -> int:
        return len(self.row)

    def select(self, profiles: Int64[np.ndarray, " n"]) -> "EncodedProfiles":
        """The profiles given, in that order."""
        return EncodedProfiles(self.row[profiles], self.numeric[profiles])
