"""Query vectors that say which model made them, in memory and on the disk.

Vectors of two models may have the same width, and their inner products are numbers all the same: nothing in
an answer would show that they do not belong together. So whatever leaves a release to be searched by later
carries the fingerprint of its model, and an index refuses all but its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from towers.errors import MissingDataError, QueryError, SkewError
from towers.exported import FINGERPRINT
from towers.folders import file_aside

_NAME = "query_vector"


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """A vector per query, or K interests of each, and the fingerprint of the model that encoded them."""

    vector: Float32[np.ndarray, "Q *K D"]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.vector)

    def select(self, rows: Int64[np.ndarray, " n"]) -> "QueryVectors":
        """Those of some of the queries."""
        return QueryVectors(self.vector[rows], self.fingerprint)

    def of(self, fingerprint: str) -> Float32[np.ndarray, "Q *K D"]:
        """The vectors, for the index of this model; SkewError where another made them."""
        if self.fingerprint != fingerprint:
            raise SkewError(
                f"query vectors are of the model {self.fingerprint[:12]}; the index expects those of "
                f"{fingerprint[:12]}: encode the queries with this release"
            )
        return self.vector

    def save(self, path: Path) -> None:
        """Writes them to a safetensors file, whole or not at all."""
        with file_aside(path) as aside:
            content = {_NAME: np.ascontiguousarray(self.vector)}
            aside.write_bytes(save(content, metadata={FINGERPRINT: self.fingerprint}))

    @classmethod
    def load(cls, path: Path) -> "QueryVectors":
        """What `save` wrote. MissingDataError where nothing is, QueryError where it is another file."""
        if not path.is_file():
            raise MissingDataError(f"{path}: no such file; expected query vectors")
        try:
            with safe_open(path, "numpy") as file:
                fingerprint = (file.metadata() or {}).get(FINGERPRINT)
                vector = file.get_tensor(_NAME) if _NAME in file.keys() else None  # noqa: SIM118  # no mapping
        except SafetensorError as error:
            raise QueryError(f"{path}: {error}; expected query vectors in a safetensors file") from error
        if vector is None or fingerprint is None or vector.dtype != np.float32 or vector.ndim not in (2, 3):
            raise QueryError(
                f"{path}: expected {_NAME} float32 (Q, D) or (Q, K, D), and {FINGERPRINT} in its metadata"
            )
        return cls(vector, fingerprint)
