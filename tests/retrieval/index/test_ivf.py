"""Lists of FAISS: what they read, what they keep, and what they are kept from doing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from retrieval.index.allowed import Allowed
from retrieval.index.build import build_index, load_index
from retrieval.index.faiss.ivf import FaissIvf, build_ivf
from retrieval.index.operating import exact_rows, recall_by_query
from retrieval.index.spec import Codes, IndexKind, IndexSpec
from towers.errors import IndexBuildError

SPEC = IndexSpec(IndexKind.IVF, refine_factor=3.0)


def _clustered(num: int, seed: int) -> np.ndarray:
    """Unit vectors of 32 coordinates around 50 centres, which are of one seed."""
    centre = np.random.default_rng(0).standard_normal((50, 32))
    rng = np.random.default_rng(seed)
    vectors = centre[rng.integers(0, 50, num)] + 0.7 * rng.standard_normal((num, 32))
    found: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found


def _recall(index: FaissIvf, vectors: np.ndarray, query: np.ndarray, k: int = 20) -> float:
    return float(recall_by_query(index.search(query, k)[1], exact_rows(vectors, query, k)).mean())


@pytest.mark.parametrize("codes", Codes)
def test_a_part_of_the_lists_holds_most_of_the_answer(codes: Codes) -> None:
    vectors, query = _clustered(20_000, 1), _clustered(200, 2)
    index = build_ivf(vectors, replace(SPEC, codes=codes, refine_factor=6.0))
    exact, num_lists = exact_rows(vectors, query, 20), index.num_lists
    few, some, every = (index.search_with(query, 20, stop=stop) for stop in (4.0, 32.0, float(num_lists)))
    recall = [recall_by_query(row, exact).mean() for _, row, _ in (few, some, every)]
    assert recall[0] < recall[1] < recall[2] + 0.01
    assert recall[1] > 0.9
    assert some[2][1] == 32 * 200
    assert 0 < some[2][0] < 0.35 * 200 * len(vectors)
    assert every[2].tolist() == [200 * len(vectors), 200 * num_lists]
    np.testing.assert_array_equal(index.to(32.0).search(query, 20)[1], some[1])


@pytest.mark.parametrize("codes", Codes)
def test_what_a_code_holds_is_what_it_says(codes: Codes) -> None:
    vectors = _clustered(5_000, 3)
    index = build_ivf(vectors, replace(SPEC, codes=codes, num_lists=64))
    bits = {Codes.FLAT: 32, Codes.SQ8: 8, Codes.PQ4: 2, Codes.RABITQ: 1}[codes] * 32
    per_item = index.num_bytes / 5_000 - 64 * 32 * 4 / 5_000 - 8
    assert bits / 8 <= per_item <= bits / 8 + 8  # one bit comes with two numbers


@pytest.mark.parametrize("codes", Codes)
def test_the_same_seed_gives_the_same_answers(codes: Codes) -> None:
    vectors, query = _clustered(3_000, 4), _clustered(50, 5)
    spec = replace(SPEC, codes=codes, nprobe=4, seed=7)
    first, again, other = (build_ivf(vectors, each) for each in (spec, spec, replace(spec, seed=8)))
    for one, two in zip(first.search(query, 20), again.search(query, 20), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.search(query, 20)[1], other.search(query, 20)[1])


def test_where_lengths_differ_items_lie_in_the_lists_of_what_is_near() -> None:
    rng = np.random.default_rng(6)
    vectors = _clustered(20_000, 7) * rng.lognormal(0.0, 1.0, (20_000, 1)).astype(np.float32)
    query = _clustered(200, 8)
    index = build_ivf(vectors, replace(SPEC, codes=Codes.SQ8, num_lists=256))
    _, row, (num_codes, _) = index.search_with(query, 20, stop=32.0)
    assert recall_by_query(row, exact_rows(vectors, query, 20)).mean() > 0.9
    assert num_codes < 0.15 * 200 * len(vectors)


def test_lists_that_hold_too_little_are_filled_up_by_a_search_and_not_by_a_measurement() -> None:
    # Small groups far apart, a list for each: one list never holds the best 50.
    rng = np.random.default_rng(12)
    query = rng.standard_normal((500, 32)).astype(np.float32)
    vectors = np.repeat(query, 4, axis=0) + rng.normal(0.0, 0.01, (2_000, 32)).astype(np.float32)
    index = build_ivf(vectors, replace(SPEC, codes=Codes.SQ8, num_lists=500, nprobe=1))
    exact = exact_rows(vectors, query, 50)
    _, whole = index.search(query, 50)
    _, read, _ = index.search_with(query, 50, stop=1.0)
    assert recall_by_query(whole, exact).mean() == 1.0
    assert (read >= 0).sum(axis=1).max() < 50
    assert recall_by_query(read, exact).mean() < 0.5


def test_one_bit_codes_know_short_vectors_from_long_ones() -> None:
    # The library takes what is shorter than 3e-4 for a vector of length 1.
    rng = np.random.default_rng(9)
    vectors = _clustered(5_000, 10) * np.float32(1e-5)
    vectors[rng.permutation(5_000)[:500]] *= np.float32(1e5)
    query = _clustered(100, 11)
    index = build_ivf(vectors, replace(SPEC, codes=Codes.RABITQ, num_lists=16, nprobe=16, refine_factor=5.0))
    assert _recall(index, vectors, query) > 0.95


def test_each_query_of_a_batch_has_its_own_rule_and_the_answer_it_has_alone() -> None:
    vectors, query = _clustered(4_000, 12), _clustered(60, 13)
    rng = np.random.default_rng(14)
    passes = rng.random((5, 4_000)) < np.array([0.02, 0.1, 0.3, 0.6, 0.97])[:, None]
    bitmap = np.packbits(passes, axis=1, bitorder="little")
    left_out = [np.sort(rng.choice(4_000, rng.integers(0, 300), replace=False)) for _ in range(60)]
    offset = np.cumsum([0, *map(len, left_out)])
    allowed = Allowed(bitmap, rng.integers(-1, 5, 60), offset, np.concatenate(left_out))
    index = build_ivf(vectors, SPEC)
    score, row = index.search_allowed(query, 15, allowed)
    true = np.array([allowed.mask(line, 4_000) for line in range(60)])
    assert np.take_along_axis(true, row, axis=1).all()
    expected = np.argsort(np.where(true, -(query @ vectors.T), np.inf), axis=1)[:, :15]
    assert recall_by_query(row, expected).min() > 0.6
    assert recall_by_query(row, expected).mean() > 0.97
    for line in range(60):
        alone = index.search_allowed(query[[line]], 15, allowed.select(np.array([line])))
        np.testing.assert_array_equal(alone[1][0], row[line])
        np.testing.assert_array_equal(alone[0][0], score[line])


def test_a_file_of_other_codes_or_of_other_vectors_is_refused(tmp_path: Path) -> None:
    vectors = _clustered(500, 15)
    build_index(SPEC, vectors).save(tmp_path)
    with pytest.raises(IndexBuildError, match="holds a IndexIVFPQFastScan; expected a IndexIVFRaBitQ"):
        load_index(replace(SPEC, codes=Codes.RABITQ), tmp_path, vectors)
    with pytest.raises(IndexBuildError, match=r"lists of 500 rows .* expected every row"):
        load_index(SPEC, tmp_path, vectors[:499])
    frame = tmp_path / "index_frame.safetensors"
    save_file(load_file(frame) | {"turn": np.eye(31, 32, dtype=np.float32)}, frame)
    with pytest.raises(IndexBuildError, match=r"a turn \(31, 32\)"):
        load_index(SPEC, tmp_path, vectors)
