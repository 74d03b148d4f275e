"""The claim `explain`: named causes count more than others where they are causes."""

import numpy as np

from benchmarks.explain import deletion
from tests.retrieval.worlds import release
from towers.evaluation.significance import sign_flip


def test_taking_out_what_is_named_lowers_scores_more_than_taking_out_as_many_others() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((120, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    profiles = {f"p{one}": rng.choice(120, 12, replace=False).tolist() for one in range(25)}
    found = deletion(release(vectors, profiles=profiles), 25, seed=0)
    assert len(found.named) == 25
    assert (found.named > 0).all()
    assert (found.named > found.by_chance).all()
    assert found.places.mean() > found.places_by_chance.mean()
    assert ((1 <= found.num_causes) & (found.num_causes <= 3)).all()
    assert sign_flip(found.named, found.by_chance) < 0.01
