"""Encoding in parts: the gradients of one pass, and less held between the passes."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from towers.nets.parts import in_parts

CPU = torch.device("cpu")


def encoder(dropout: float) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 64), nn.GELU(), nn.Dropout(dropout), nn.Linear(64, 64), nn.Linear(64, 5)
    )


def in_batch_loss(vectors: Tensor) -> Tensor:
    """Every vector against all others: no part's loss is its own."""
    return torch.logsumexp(vectors @ vectors.T, dim=1).sum()


def gradients(model: nn.Module, loss: Tensor, *more: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [*model.parameters(), *more]))


@pytest.mark.parametrize("sizes", [[10], [3, 7], [1] * 10])
def test_gradients_of_a_loss_over_all_parts_are_those_of_one_pass(sizes: list[int]) -> None:
    model = encoder(0.0).double()
    given = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
    whole = in_batch_loss(model(given))
    parted = in_batch_loss(torch.cat(in_parts(model, torch.split(given, sizes), CPU)))
    assert parted.item() == pytest.approx(whole.item(), rel=1e-12)
    for one, two in zip(gradients(model, whole, given), gradients(model, parted, given), strict=True):
        torch.testing.assert_close(one, two, atol=1e-10, rtol=1e-10)


def test_the_second_pass_drops_what_the_first_did() -> None:
    model = encoder(0.5)
    parts = torch.split(torch.randn(12, 6), 4)

    def loss(encoded: list[Tensor]) -> Tensor:
        return in_batch_loss(torch.cat(encoded))

    torch.manual_seed(7)
    recomputed = gradients(model, loss(in_parts(model, parts, CPU)))
    torch.manual_seed(7)
    kept = gradients(model, loss([model(part) for part in parts]))
    for one, two in zip(recomputed, kept, strict=True):
        assert torch.equal(one, two)
    torch.manual_seed(8)
    other = gradients(model, loss([model(part) for part in parts]))
    assert not torch.equal(kept[0], other[0])


def test_what_is_drawn_afterwards_is_what_would_have_been_drawn() -> None:
    model = encoder(0.5)
    parts = torch.split(torch.randn(12, 6), 4)
    torch.manual_seed(7)
    gradients(model, in_batch_loss(torch.cat(in_parts(model, parts, CPU))))
    after = torch.rand(3)
    torch.manual_seed(7)
    gradients(model, in_batch_loss(torch.cat([model(part) for part in parts])))
    assert torch.equal(after, torch.rand(3))


def held_bytes(run: Any) -> int:
    """Of what the passes keep for the gradient, weights apart."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(kept.values())


def test_only_the_results_are_held_between_the_passes() -> None:
    model = encoder(0.1)
    given = torch.randn(1000, 6)
    whole = held_bytes(lambda: model(given))
    parted = held_bytes(lambda: in_parts(model, torch.split(given, 100), CPU))
    # Of 64 values a layer and line, the whole pass keeps three layers' at the least.
    assert whole > 1000 * 3 * 64 * 4
    # The parts keep what they were given.
    assert parted <= given.untyped_storage().nbytes()


class LivingBytes(TorchDispatchMode):
    """The most bytes alive at once of what is made while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[tuple[StorageWeakRef, int]] = []
        self.peak: int = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        known = {one.cdata for one, _ in self.made}
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                if reference.cdata not in known:
                    self.made.append((reference, storage.nbytes()))
        self.made = [(one, size) for one, size in self.made if not one.expired()]  # type: ignore[no-untyped-call]
        self.peak = max(self.peak, sum(size for _, size in self.made))
        return result


def test_no_more_than_one_part_is_alive_in_either_pass() -> None:
    model = encoder(0.1)
    given = torch.randn(1000, 6)

    def peak_bytes(parts: Sequence[Tensor]) -> int:
        with LivingBytes() as living:
            gradients(model, torch.cat(in_parts(model, parts, CPU)).square().sum())
        return int(living.peak)

    # A tenth of the activations, the results of all, and the gradients of the weights.
    assert peak_bytes(torch.split(given, 100)) < peak_bytes([given]) / 4


def test_without_gradients_every_part_is_encoded_once() -> None:
    times: list[int] = []

    def encode(part: Tensor) -> Tensor:
        times.append(len(part))
        return part * 2

    with torch.no_grad():
        assert torch.equal(
            torch.cat(in_parts(encode, torch.split(torch.ones(5, 2), 3), CPU)), torch.full((5, 2), 2.0)
        )
    assert times == [3, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_second_pass_drops_on_a_gpu_what_the_first_did() -> None:
    device = torch.device("cuda")
    model = encoder(0.5).to(device)
    parts = [(part,) for part in torch.split(torch.randn(12, 6, device=device), 4)]

    def encode(part: tuple[Tensor]) -> Tensor:
        return model(part[0])  # type: ignore[no-any-return]

    torch.manual_seed(7)
    recomputed = gradients(model, in_batch_loss(torch.cat(in_parts(encode, parts, device))))
    torch.manual_seed(7)
    kept = gradients(model, in_batch_loss(torch.cat([encode(part) for part in parts])))
    for one, two in zip(recomputed, kept, strict=True):
        torch.testing.assert_close(one, two)
