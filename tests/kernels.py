"""What compiles to machine code in these tests, once for all of their processes.

From a fresh clone every kernel is compiled when it is first called, and kept on the disk: minutes of work,
that processes which begin together would all do.
"""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from tests.forked import ROOT


def compile_share() -> None:
    """Has this worker of several compile its share; without others it compiles what its tests call."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count > 1:
        number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        for kept, compile_it in _SHARES[number::count]:
            # What an earlier run has kept is read when it is called; if it is of other sources, made anew.
            if not any((ROOT / kept).parent.glob(f"__pycache__/{Path(kept).stem}.*.nbi")):
                compile_it()


def _service() -> None:
    """What encodes a history, finds texts by their words, and searches vectors with a delta."""
    from retrieval.rebuild.run import rebuild
    from retrieval.retriever import Retriever
    from tests.retrieval.rebuild.worlds import Title, artifacts, world

    with TemporaryDirectory() as folder:
        told = world()
        service = artifacts(Path(folder), told)
        service.build()
        rebuild(service.job(told.with_titles(t003=None, n1=Title("Fresh", 2, 2001))))
        retriever = Retriever.open(service.root)
        retriever.recommend("p1", k=5)
        retriever.similar("t004", k=5)
        for text in ("name004", "nmae005", "qqq", "drama"):
            retriever.search(text, k=5)
        retriever.suggest("n", k=5)


def _partitioned() -> None:
    """What searches lists of like items."""
    from retrieval.index.build import build_index
    from retrieval.index.spec import IndexKind
    from tests.contracts.indexes import SPECS

    (spec,) = (spec for spec in SPECS if spec.kind is IndexKind.PARTITIONED)
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    build_index(spec, vectors).search(vectors[:2], 3)


def _texts() -> None:
    """What reads a text as the query tower does."""
    from retrieval.search.text_vectors import TextVectors
    from towers.nets.query_tower import QueryTower, QueryTowerSettings

    tower = QueryTower(QueryTowerSettings(buckets=64, max_words=4), 8)
    with torch.no_grad():
        tower.learned.fill_(True)
    TextVectors(tower.eval(), 8, "abc").encode("star wars")


def _lists_and_texts() -> None:
    """The other half of the work."""
    _partitioned()
    _texts()


def _softmax() -> None:
    """What training takes the full softmax by."""
    from towers.objectives.softmax import full_softmax

    target, weight = torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1)
    full_softmax(torch.ones(2, 3), torch.ones(4, 3), target, weight, temperature=1.0)


_SHARES: tuple[tuple[str, Callable[[], None]], ...] = (
    ("retrieval/user_tower/kernels.py", _service),
    ("retrieval/search/text_kernels.py", _lists_and_texts),
    ("towers/objectives/vector_walk.py", _softmax),
)
"""By a file whose kernels are among the last that are compiled."""
