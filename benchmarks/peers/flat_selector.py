"""The peer of the claim `eligibility`: FAISS IndexFlatIP with an IDSelectorBitmap, on one thread.

`flat_selector.py <vector set.npz> <bitmaps.npy> <k> <queries>`: for each number of a bitmap on its standard
input it answers so many of the test queries among what the bitmap lets pass, one at a time, and prints a line
of JSON, the seconds that each took. A process of its own, so that it and its rival can take turns.
"""

import json
import sys
import time
from typing import Any

import faiss
import numpy as np


def main(vectors: str, bitmaps: str, k: int, num_queries: int) -> None:
    """Answers until the input ends."""
    faiss.omp_set_num_threads(1)
    with np.load(vectors, allow_pickle=False) as held:
        items, queries = held["items"], held["test_queries"][:num_queries]
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    bitmap = np.load(bitmaps, allow_pickle=False)
    # The library's own type stubs do not know these arguments.
    parameters: Any = faiss.SearchParameters
    selector: Any = faiss.IDSelectorBitmap
    for line in sys.stdin:
        case, seconds = bitmap[int(line)], []
        for query in queries:
            begun = time.perf_counter()
            chosen = parameters(sel=selector(case))
            index.search(query[None], k, params=chosen)
            seconds.append(time.perf_counter() - begun)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
