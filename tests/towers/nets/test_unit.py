"""Unit vectors beside torch's own normalize, and their gradient beside finite differences."""

import pytest
import torch
import torch.nn.functional as F

from towers.nets.unit import unit


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 6), (0, 8), (9, 1)])
def test_vectors_and_gradients_are_those_of_normalize(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    seed = torch.randn(shape, dtype=torch.float64)
    expected = F.normalize(vectors, dim=-1)
    torch.testing.assert_close(unit(vectors), expected)
    torch.testing.assert_close(
        torch.autograd.grad(unit(vectors), vectors, seed), torch.autograd.grad(expected, vectors, seed)
    )


def test_the_gradient_is_that_of_finite_differences() -> None:
    vectors = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, (vectors,))


def test_zeros_stay_and_half_precision_gives_float32_of_unit_length() -> None:
    assert torch.equal(unit(torch.zeros(2, 4)), torch.zeros(2, 4))
    found = unit(torch.randn(50, 64, dtype=torch.bfloat16))
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(50), rtol=0.0, atol=1e-6)
