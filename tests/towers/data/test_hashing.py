import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.hashing import collision_rate, fnv1a, hash_buckets

relaxed = settings(deadline=None, max_examples=100)


def one_fnv1a(text: str) -> int:
    hashed = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    return hashed


def one_bucket(text: str, num_buckets: int) -> int:
    mixed = one_fnv1a(text)
    mixed ^= mixed >> 33
    mixed = mixed * 0xFF51AFD7ED558CCD % 2**64
    mixed ^= mixed >> 33
    mixed = mixed * 0xC4CEB9FE1A85EC53 % 2**64
    mixed ^= mixed >> 33
    return mixed % num_buckets


def test_the_hash_is_the_published_one() -> None:
    # From the test vectors of the authors: http://www.isthe.com/chongo/tech/comp/fnv/
    published = {"": 0xCBF29CE484222325, "a": 0xAF63DC4C8601EC8C, "foobar": 0x85944171F73967E8}
    assert fnv1a(pa.array(list(published))).tolist() == list(published.values())


@relaxed
@given(st.lists(st.text(max_size=12) | st.none(), max_size=30), st.integers(1, 2**31 - 1), st.integers(0, 5))
def test_every_value_has_the_bucket_of_the_scalar_hash(
    values: list[str | None], num_buckets: int, skipped: int
) -> None:
    column = pa.array(values, pa.string()).slice(skipped)
    expected = [one_bucket(value or "", num_buckets) for value in values[skipped:]]
    assert hash_buckets(column, num_buckets).tolist() == expected
    assert hash_buckets(column.cast(pa.large_string()), num_buckets).tolist() == expected
    assert fnv1a(column).tolist() == [one_fnv1a(value or "") for value in values[skipped:]]


def test_another_process_gives_the_same_buckets() -> None:
    program = "import pyarrow; from towers.data.hashing import hash_buckets; print(hash_buckets({}, 97))"
    values = ["GB", "Łódź", "i10", ""]
    answers = {
        subprocess.run(
            [sys.executable, "-c", program.format(f"pyarrow.array({values})")],
            cwd=Path(__file__).parents[3],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert answers == {str(np.array([one_bucket(value, 97) for value in values]))}


@pytest.mark.parametrize("num_buckets", [1 << 12, 5_000])
@pytest.mark.parametrize("like", ["{}", "tt{:07d}", "Person Number {}"])
def test_counted_ids_collide_as_often_as_chance_has_it(num_buckets: int, like: str) -> None:
    for num_values in (500, 4_000, 20_000):
        values = pa.array([like.format(number) for number in range(num_values)])
        expected = 1.0 - (1.0 - 1.0 / num_buckets) ** (num_values - 1)
        # The share of n values is about normal, its deviation below 0.5 / sqrt(n / 2): pairs fall together.
        assert abs(collision_rate(values, num_buckets) - expected) < 4 * 0.5 / (num_values / 2) ** 0.5


def test_the_collision_rate_counts_distinct_values_by_hand() -> None:
    three = ["a", "b", "c", "a", "a", None]
    buckets = [one_bucket(value, 2) for value in ("a", "b", "c")]
    shared = sum(buckets.count(bucket) > 1 for bucket in buckets) / 3
    assert collision_rate(pa.array(three), 2) == pytest.approx(shared)
    assert collision_rate(pa.array(["a", "a"]), 1) == 0.0
    assert collision_rate(pa.array(["a", "b"]), 1) == 1.0
    assert collision_rate(pa.array([], pa.string()), 8) == 0.0
