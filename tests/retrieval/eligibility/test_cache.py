"""The cache of bitmaps: its bound, and which go first."""

import numpy as np

from retrieval.eligibility.cache import BitmapCache


def _bitmap(value: int) -> np.ndarray:
    return np.full(1000, value, np.uint8)


def test_the_bytes_stay_within_the_bound() -> None:
    cache = BitmapCache(10_000)
    for place in range(50):
        cache.put(f"{place}", _bitmap(place))
        assert cache.num_bytes <= 10_000
    kept = [place for place in range(50) if cache.get(f"{place}") is not None]
    assert 1000 * len(kept) <= cache.num_bytes
    assert kept == list(range(50 - len(kept), 50))
    assert len(kept) >= 5


def test_long_keys_count() -> None:
    cache = BitmapCache(10_000)
    for place in range(50):
        cache.put(f"{place}" * 2000, _bitmap(place))
    assert sum(cache.get(f"{place}" * 2000) is not None for place in range(50)) < 3


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = BitmapCache(5_000)
    for name in ("a", "b", "c"):
        cache.put(name, _bitmap(1))
    assert cache.get("a") is not None
    cache.put("d", _bitmap(2))
    assert cache.get("b") is None
    found = cache.get("a")
    assert found is not None
    np.testing.assert_array_equal(found, _bitmap(1))


def test_a_bitmap_larger_than_the_bound_is_not_kept_and_evicts_nothing() -> None:
    cache = BitmapCache(2_000)
    cache.put("small", _bitmap(1))
    cache.put("large", np.zeros(5000, np.uint8))
    assert cache.get("large") is None
    assert cache.get("small") is not None


def test_a_key_put_twice_counts_once() -> None:
    cache = BitmapCache(10_000)
    cache.put("a", _bitmap(1))
    once = cache.num_bytes
    cache.put("a", _bitmap(1))
    assert cache.num_bytes == once
