"""How often each item occurs in a log without end: a sketch of fixed size that follows what is popular."""

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn

from towers.errors import ConfigError

# Odd multipliers of the hash functions: the bits of a row are spread by one each, and the upper ones taken.
_GOLDEN = 0x9E3779B97F4A7C15


class ItemFrequency(nn.Module):
    """The probability that one draw from a stream is a given item, from the gaps between its occurrences.

    Every item has a bucket in each of `num_hashes` arrays. When it occurs at draw t, having occurred at a
    before, its gap is learned: B <- (1 - a_k) B + a_k (t - a), and p = 1 / max_h B_h, since a bucket that
    several items share has too small a gap. a_k = max(rate, 1/k) at the k-th occurrence: the plain mean at
    first, so that no initial value has to be guessed, then a mean that forgets. All state is buffers: it goes
    into a state_dict.
    Source: Yi et al., RecSys 2019, doi:10.1145/3298689.3346996, algorithm 3; here t counts draws, not
    batches, so that an item may occur several times in one.

    num_buckets: a power of two, of each array; 20 bytes each. rate: the share of a new gap; 1 / rate
    occurrences are remembered.
    """

    def __init__(self, *, num_buckets: int, num_hashes: int, rate: float) -> None:
        super().__init__()
        self.num_bits = num_buckets.bit_length() - 1
        if num_buckets.bit_count() != 1 or not 2 <= num_buckets <= 2**31:
            raise ConfigError(f"num_buckets = {num_buckets}: expected a power of two from 2 to 2^31")
        if not 0.0 < rate < 1.0:
            raise ConfigError(f"rate = {rate}: expected a share between 0 and 1, without either")
        self.rate = rate
        self.num_draws: Tensor
        self.last: Tensor
        self.num_seen: Tensor
        self.gap: Tensor
        self.register_buffer("num_draws", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", torch.zeros(num_hashes, num_buckets, dtype=torch.int64))
        self.register_buffer("num_seen", torch.zeros(num_hashes, num_buckets, dtype=torch.int32))
        self.register_buffer("gap", torch.zeros(num_hashes, num_buckets, dtype=torch.float64))

    @torch.no_grad()
    def update(self, row: Int64[Tensor, " n"]) -> None:
        """Takes the next n draws of the stream, in order; the same, to rounding, as one after another."""
        moment = self.num_draws + torch.arange(1, len(row) + 1, device=row.device)
        for bucket, last, num_seen, gap in zip(
            self._bucket(row), self.last, self.num_seen, self.gap, strict=True
        ):
            order = bucket.sort(stable=True).indices
            found, when = bucket[order], moment[order]
            again = torch.zeros_like(found, dtype=torch.bool)
            again[1:] = found[1:] == found[:-1]
            since = when - torch.where(again, when.roll(1), last[found])
            # The how-manieth occurrence in its bucket each of them is, before and in this batch.
            place = torch.arange(len(found), device=row.device)
            first = torch.where(again, 0, place).cummax(0).values
            number = num_seen[found] + (place - first) + 1
            touched, count = found.unique_consecutive(return_counts=True)
            after = num_seen[touched].long() + count
            # A gap learned at its k-th of n occurrences has kept prod_{k < i <= n} (1 - a_i) of its share.
            kept = (self._log_left(after).repeat_interleave(count) - self._log_left(number)).exp()
            rate = torch.clamp(1.0 / number.double(), min=self.rate)
            old = torch.where(num_seen[touched] > 0, gap[touched], 0.0)
            old_kept = (self._log_left(after) - self._log_left(num_seen[touched].clamp(min=1))).exp()
            gap[touched] = old * old_kept
            gap.index_add_(0, found, rate * kept * since)
            num_seen[touched] = after.to(num_seen.dtype)
            last[touched] = when[count.cumsum(0) - 1]
        self.num_draws += len(row)

    @torch.no_grad()
    def probability(self, row: Int64[Tensor, "*S"]) -> Float64[Tensor, "*S"]:
        """The estimated probability of each item in one draw; (0, 1].

        An item that has not occurred for longer than its gap counts as though it occurred next; one that
        never did, as though it were the next draw: 1 / (draws so far + 1).
        """
        bucket = self._bucket(row.flatten())
        last, num_seen, gap = (each.gather(1, bucket) for each in (self.last, self.num_seen, self.gap))
        open_gap = (self.num_draws + 1 - last).double()
        rate = torch.clamp(1.0 / (num_seen + 1).double(), min=self.rate)
        gap = gap + rate * (open_gap - gap).clamp(min=0.0)
        return (1.0 / gap.amax(0).clamp(min=1.0)).reshape(row.shape)

    def _bucket(self, row: Tensor) -> Int64[Tensor, "H n"]:
        """The bucket of each row in each array: the upper bits of row × odd number, of the top 32.

        Multiply-shift, Dietzfelbinger et al. 1997, doi:10.1006/jagm.1997.0873. int64 wraps around as it
        should.
        """
        factors = [_signed(_GOLDEN * (2 * each + 1) ** 5) for each in range(len(self.gap))]
        factor = torch.tensor(factors, dtype=torch.int64, device=row.device)
        mixed = (row * factor[:, None]) ^ ((row * factor[:, None]) >> 32)
        return ((mixed * factor[:, None]) >> (64 - self.num_bits)) & ((1 << self.num_bits) - 1)

    def _log_left(self, number: Tensor) -> Tensor:
        """Gives log prod_{1 < i <= number} (1 - a_i): -log(number) while the mean is plain, then less."""
        plain = max(1, math.floor(1.0 / self.rate))
        number = number.double()
        beyond = (number - plain).clamp(min=0.0) * math.log1p(-self.rate)
        return beyond - number.clamp(max=plain).log()


def _signed(number: int) -> int:
    """The lowest 64 bits as a signed integer; odd stays odd."""
    low = number & 0xFFFFFFFFFFFFFFFF
    return low - (1 << 64) if low >> 63 else low
