"""Whether a difference could be chance: the paired sign-flip test, and Holm's correction over many."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError

# Bytes of signs drawn at once, so that memory does not grow with the number of queries.
_MAX_BYTES = 1 << 20


def sign_flip(
    value: Float64[np.ndarray, " Q"],
    reference: Float64[np.ndarray, " Q"],
    *,
    num_flips: int = 10_000,
    seed: int = 0,
) -> float:
    """The two-sided p-value of mean(value) - mean(reference) over the same Q queries.

    Were the two recommenders alike, each query's difference would as well have the other sign: p is the share
    of sign patterns whose |Σ ±d_q| is at least the one seen, of all of them where there are no more than
    `num_flips`, else of that many drawn with the one seen counted in, (1 + b) / (1 + num_flips), so that p is
    never 0. Sources: Smucker, Allan and Carterette, CIKM 2007, doi:10.1145/1321440.1321528; Phipson and
    Smyth 2010, doi:10.2202/1544-6115.1585. Raises QueryError on unequal lengths, no queries, values that are
    not finite, or no flips.
    """
    if len(value) != len(reference) or len(value) == 0:
        raise QueryError(
            f"{len(value)} values against {len(reference)}; expected the same queries, at least one"
        )
    if num_flips < 1:
        raise QueryError(f"num_flips = {num_flips}; expected at least 1")
    difference = value - reference
    if not np.all(np.isfinite(difference)):
        raise QueryError("values that are not finite; expected one finite value per query")
    size = np.abs(
        difference[difference != 0.0]
    )  # queries on which both agree add nothing, whatever their sign
    # Sums of the same numbers in another order differ in the last digits: they are ties all the same.
    seen = abs(float(difference.sum())) - 1e-10 * float(size.sum())
    if 2 ** min(len(size), 60) <= num_flips:
        pattern = np.arange(2 ** len(size))[:, None] >> np.arange(len(size)) & 1
        return float(np.mean(np.abs((2.0 * pattern - 1.0) @ size) >= seen))
    sums = _flipped_sums(size, num_flips, np.random.default_rng(seed))
    return (1 + int(np.sum(np.abs(sums) >= seen))) / (1 + num_flips)


def _flipped_sums(size: np.ndarray, num_flips: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of the sizes, each with a sign by chance."""
    num_bytes = -(-len(size) // 8)
    eights = np.pad(size, (0, 8 * num_bytes - len(size))).reshape(num_bytes, 8)
    signs = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) - 1.0
    # A random byte is eight signs: the sum of eight queries is looked up, not added.
    sum_of_byte = (eights @ signs.T).ravel()
    first = 256 * np.arange(num_bytes)
    step = max(1, _MAX_BYTES // num_bytes)
    sums = np.empty(num_flips)
    for start in range(0, num_flips, step):
        num = min(step, num_flips - start)
        drawn = rng.integers(0, 256, (num, num_bytes), dtype=np.uint8)
        sums[start : start + num] = sum_of_byte[first + drawn].sum(axis=1)
    return sums


def holm(p_values: Sequence[float] | Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """The p-values of m tests made at once, corrected so that one false alarm among them is as rare as said.

    With p_(1) ≤ … ≤ p_(m): p̃_(i) = max_{j ≤ i} min(1, (m - j + 1) · p_(j)). To call those below α
    different is wrong about any of them with probability α at most, however the tests depend on each other.
    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70. Raises QueryError on a p-value outside
    0 to 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if np.any(~((p >= 0.0) & (p <= 1.0))):
        raise QueryError("p-values outside 0 to 1; expected probabilities")
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    return corrected
