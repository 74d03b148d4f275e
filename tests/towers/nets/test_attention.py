"""What attention adds by distance: a value for each reader and place, and its gradient."""

import pytest
import torch

from towers.nets.attention import Layout


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_every_place_has_the_value_of_its_distance(length: int, lead: tuple[int, ...]) -> None:
    torch.manual_seed(length)
    value = torch.randn(*lead, 17, dtype=torch.float64, requires_grad=True)
    ahead = torch.ones(length, length, dtype=torch.bool).triu(1)
    found = Layout(torch.arange(length), 1, ahead, None).by_distance(value)
    weight = torch.randn(found.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((found * weight).sum(), value)
    wanted = torch.zeros(*lead, length, length, dtype=torch.float64)
    wanted_gradient = torch.zeros_like(value)
    for reader in range(length):
        for place in range(reader + 1):
            wanted[..., reader, place] = value.detach()[..., reader - place]
            wanted_gradient[..., reader - place] += weight[..., reader, place]
    torch.testing.assert_close(found.detach(), wanted, rtol=0.0, atol=0.0)
    torch.testing.assert_close(gradient, wanted_gradient)
