"""Lists of FAISS on a GPU: what they are without one, and that with one the answers are the same."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from retrieval.index.allowed import Allowed
from retrieval.index.build import build_index, load_index
from retrieval.index.faiss.gpu import FaissGpuIvf, build_gpu_ivf
from retrieval.index.faiss.ivf import FaissIvf, build_ivf
from retrieval.index.spec import Codes, Device, IndexKind, IndexSpec
from tests.contracts.indexes import FAISS_GPUS
from towers.errors import IndexBuildError

SPEC = IndexSpec(IndexKind.GPU_IVF, codes=Codes.FLAT, num_lists=100, nprobe=10, device=Device.CPU)
gpu = pytest.mark.skipif(not FAISS_GPUS, reason="no CUDA device, or no FAISS for it")
BOTH = pytest.mark.parametrize("codes", [Codes.FLAT, Codes.SQ8])


def drawn(seed: int, num: int, dimension: int = 24) -> np.ndarray:
    """Vectors of all lengths."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((num, dimension)) * rng.lognormal(0.0, 0.5, (num, 1))
    return vectors.astype(np.float32)


@BOTH
def test_without_a_gpu_it_is_kind_ivf_in_answers_and_files(codes: Codes, tmp_path: Path) -> None:
    vectors, query = drawn(1, 5_000), drawn(2, 30)
    spec = replace(SPEC, codes=codes)
    plain = build_ivf(vectors, spec)
    built = build_index(spec, vectors)
    built.save(tmp_path)
    read = [load_index(replace(spec, kind=kind), tmp_path, vectors) for kind in (spec.kind, IndexKind.IVF)]
    for index in (built, *read):
        assert isinstance(index, FaissIvf)
        for one, other in zip(index.search(query, 20), plain.search(query, 20), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("codes", [Codes.PQ4, Codes.RABITQ])
@pytest.mark.parametrize("device", Device)
def test_codes_that_no_gpu_search_reads_are_refused_wherever_it_is(
    codes: Codes, device: Device, tmp_path: Path
) -> None:
    vectors, spec = drawn(3, 500), replace(SPEC, codes=codes, device=device)
    with pytest.raises(IndexBuildError, match=rf"index.codes={codes}: .* expected flat or sq8"):
        build_index(spec, vectors)
    build_ivf(vectors, spec).save(tmp_path)
    with pytest.raises(IndexBuildError, match=rf"index.codes={codes}: .* expected flat or sq8"):
        load_index(spec, tmp_path, vectors)


@pytest.mark.skipif(FAISS_GPUS > 0, reason="there is a CUDA device, and FAISS for it")
def test_without_a_gpu_it_is_refused_or_put_on_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    vectors = drawn(4, 500)
    missing = (
        "no CUDA device" if hasattr(faiss, "StandardGpuResources") else "expected its GPU build, faiss-gpu"
    )
    with pytest.raises(IndexBuildError, match=missing):
        build_index(replace(SPEC, device=Device.CUDA), vectors)
    index = build_index(replace(SPEC, device=Device.AUTO), vectors)
    assert "index put on the CPU, as one of kind ivf" in caplog.text
    assert missing in caplog.text
    assert index.search(vectors[:5], 3)[1].min() >= 0


def placed(vectors: np.ndarray, spec: IndexSpec) -> tuple[FaissIvf, FaissIvf]:
    """The index on the GPU, and the same lists on the CPU."""
    on_gpu = build_gpu_ivf(vectors, replace(spec, device=Device.CUDA))
    assert isinstance(on_gpu, FaissGpuIvf)
    return on_gpu, build_ivf(vectors, spec)


def assert_alike(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> None:
    """The same answers, but for what the order of sums decides."""
    np.testing.assert_allclose(one[0], other[0], rtol=1e-5, atol=1e-4)
    assert (one[1] == other[1]).mean() > 0.999


@pytest.mark.gpu
@gpu
@BOTH
def test_on_a_gpu_answers_are_those_of_the_cpu(codes: Codes) -> None:
    vectors, query = drawn(5, 50_000), drawn(6, 300)
    on_gpu, on_cpu = placed(vectors, replace(SPEC, codes=codes))
    for nprobe in (1, 10, 100):
        one, other = (index.to(nprobe) for index in (on_gpu, on_cpu))
        assert isinstance(one, FaissGpuIvf)
        # More than one list holds: what they lack is scored one by one, on either.
        for k in (1, 100, 600):
            assert_alike(one.search(query, k), other.search(query, k))


@pytest.mark.gpu
@gpu
def test_on_a_gpu_rules_and_long_answers_are_searched_in_the_lists_of_the_cpu() -> None:
    vectors, query = drawn(7, 20_000), drawn(8, 24)
    on_gpu, on_cpu = placed(vectors, SPEC)
    passes = np.random.default_rng(9).random((3, len(vectors))) < np.array([0.01, 0.3, 0.9])[:, None]
    out = [np.sort(np.random.default_rng(10 + each).choice(len(vectors), 40, False)) for each in range(24)]
    allowed = Allowed(
        np.packbits(passes, axis=1, bitorder="little"),
        np.arange(24) % 4 - 1,
        np.concatenate(out),
        np.arange(25) * 40,
    )
    found = on_gpu.search_allowed(query, 50, allowed)
    assert_alike(found, on_cpu.search_allowed(query, 50, allowed))
    for line, rows, each in zip(allowed.line, found[1], out, strict=True):
        assert (rows >= 0).all()
        assert not np.isin(rows, each).any()
        assert line < 0 or passes[line, rows].all()
    assert_alike(on_gpu.to(100).search(query, 3_000), on_cpu.to(100).search(query, 3_000))


@pytest.mark.gpu
@gpu
def test_on_a_gpu_many_threads_search_at_once() -> None:
    vectors = drawn(11, 50_000)
    on_gpu, _ = placed(vectors, SPEC)
    queries = [drawn(20 + seed, 1 + seed) for seed in range(32)]
    expected = [on_gpu.search(query, 100) for query in queries]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda query: on_gpu.search(query, 100), queries * 4))
    for one, other in zip(found, expected * 4, strict=True):
        assert_alike(one, other)
