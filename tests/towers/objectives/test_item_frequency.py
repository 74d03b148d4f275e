import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import ConfigError
from towers.objectives.item_frequency import ItemFrequency


class OneByOne:
    """Algorithm 3 of the paper as it stands there, a draw at a time, with a plain mean at first."""

    def __init__(self, sketch: ItemFrequency) -> None:
        self.sketch = sketch
        self.last, self.gap, self.seen = (
            [dict[int, float]() for _ in range(len(sketch.gap))] for _ in range(3)
        )
        self.moment = 0

    def take(self, row: int) -> None:
        self.moment += 1
        for h, bucket in enumerate(self.sketch._bucket(torch.tensor([row]))[:, 0].tolist()):
            number = self.seen[h].get(bucket, 0) + 1
            rate = max(self.sketch.rate, 1 / number)
            since = self.moment - self.last[h].get(bucket, 0)
            self.gap[h][bucket] = (1 - rate) * self.gap[h].get(bucket, 0.0) + rate * since
            self.last[h][bucket], self.seen[h][bucket] = self.moment, number

    def probability(self, row: int) -> float:
        buckets = self.sketch._bucket(torch.tensor([row]))[:, 0].tolist()
        return 1 / max(self.gap[h][bucket] for h, bucket in enumerate(buckets))


@given(
    rows=st.lists(st.lists(st.integers(0, 12), max_size=30), min_size=1, max_size=5),
    rate=st.sampled_from([0.01, 0.2, 0.5, 0.9]),
    num_hashes=st.integers(1, 3),
)
def test_batches_teach_the_same_as_one_draw_after_another(
    rows: list[list[int]], rate: float, num_hashes: int
) -> None:
    sketch = ItemFrequency(num_buckets=8, num_hashes=num_hashes, rate=rate)
    slow = OneByOne(sketch)
    for batch in rows:
        sketch.update(torch.tensor(batch, dtype=torch.int64))
        for row in batch:
            slow.take(row)
    assert int(sketch.num_draws) == sum(map(len, rows))
    for h in range(num_hashes):
        for bucket, gap in slow.gap[h].items():
            assert sketch.gap[h, bucket].item() == pytest.approx(gap, rel=1e-9)
            assert sketch.last[h, bucket].item() == slow.last[h][bucket]
    # The last draw has no open gap, whatever its buckets are shared with.
    if rows[-1]:
        found = sketch.probability(torch.tensor(rows[-1][-1:])).item()
        assert found == pytest.approx(min(1.0, slow.probability(rows[-1][-1])), rel=1e-6)


def error(sketch: ItemFrequency, planted: np.ndarray) -> float:
    """Total variation between what is estimated and what is drawn, as in the paper's section 6.1."""
    found = sketch.probability(torch.arange(len(planted))).numpy()
    return float(np.abs(found - planted).sum() / 2)


def feed(sketch: ItemFrequency, planted: np.ndarray, num_batches: int, rng: np.random.Generator) -> None:
    for _ in range(num_batches):
        sketch.update(torch.from_numpy(rng.choice(len(planted), 256, p=planted)))


def test_it_finds_the_planted_popularity_and_follows_it_when_it_turns_over() -> None:
    rng = np.random.default_rng(0)
    before = np.arange(1.0, 101.0) / 5050.0
    after = before[::-1].copy()
    sketch = ItemFrequency(num_buckets=1024, num_hashes=4, rate=0.02)
    feed(sketch, before, 200, rng)
    assert error(sketch, before) < 0.06
    assert error(sketch, after) > 0.4
    feed(sketch, after, 200, rng)
    assert error(sketch, after) < 0.06


def test_an_item_that_is_drawn_no_more_is_forgotten_without_being_drawn() -> None:
    rng = np.random.default_rng(1)
    sketch = ItemFrequency(num_buckets=1024, num_hashes=4, rate=0.1)
    feed(sketch, np.array([0.5, 0.3, 0.2]), 20, rng)
    feed(sketch, np.array([0.0, 0.6, 0.4]), 80, rng)
    assert sketch.probability(torch.tensor([0])).item() < 0.01


def test_more_hashes_tell_items_apart_that_share_a_bucket() -> None:
    rng = np.random.default_rng(2)
    planted = np.arange(1.0, 201.0) ** 2
    planted /= planted.sum()
    errors = []
    for num_hashes in (1, 4):
        sketch = ItemFrequency(num_buckets=256, num_hashes=num_hashes, rate=0.02)
        feed(sketch, planted, 150, rng)
        errors.append(error(sketch, planted))
    assert errors[1] < errors[0] / 2


def test_what_never_occurred_is_as_rare_as_the_log_is_long() -> None:
    sketch = ItemFrequency(num_buckets=64, num_hashes=2, rate=0.1)
    assert sketch.probability(torch.tensor([7])).item() == 1.0
    sketch.update(torch.zeros(99, dtype=torch.int64))
    found = sketch.probability(torch.tensor([[1, 0]]))
    torch.testing.assert_close(found, torch.tensor([[0.01, 1.0]], dtype=torch.float64))


def test_a_restored_sketch_goes_on_as_the_first_would() -> None:
    rng = np.random.default_rng(3)
    first = ItemFrequency(num_buckets=64, num_hashes=2, rate=0.1)
    first.update(torch.from_numpy(rng.integers(0, 50, 300)))
    second = ItemFrequency(num_buckets=64, num_hashes=2, rate=0.1)
    second.load_state_dict(first.state_dict())
    more = torch.from_numpy(rng.integers(0, 50, 300))
    first.update(more)
    second.update(more)
    rows = torch.arange(60)
    assert torch.equal(first.probability(rows), second.probability(rows))


def test_buckets_are_used_evenly() -> None:
    sketch = ItemFrequency(num_buckets=1024, num_hashes=3, rate=0.1)
    for rows in (torch.arange(16_384), 1024 * torch.arange(16_384), 10**12 + 7 * torch.arange(16_384)):
        for bucket in sketch._bucket(rows):
            # Sixteen in each on average; of a Poisson's, none of a thousand is above 40.
            assert int(torch.bincount(bucket, minlength=1024).max()) < 45


@pytest.mark.parametrize("num_buckets", [0, 1, 100])
def test_a_number_of_buckets_that_is_no_power_of_two_is_refused(num_buckets: int) -> None:
    with pytest.raises(ConfigError, match=rf"num_buckets = {num_buckets}: expected a power of two"):
        ItemFrequency(num_buckets=num_buckets, num_hashes=1, rate=0.1)


@pytest.mark.parametrize("rate", [0.0, 1.0, float("nan")])
def test_a_rate_that_learns_nothing_or_remembers_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"rate = .*: expected a share between 0 and 1"):
        ItemFrequency(num_buckets=64, num_hashes=1, rate=rate)
