"""Where a number that is not finite came from: the step is computed once more, and watched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def first_fault(model: nn.Module, loss: Callable[[], Tensor]) -> str:
    """The weight, the layer or the gradient of a step that is the first not to be finite, in words.

    `loss` computes the step again, with the dropout it had. Looked at in this order: the weights; what each
    layer gives, in the order of computation; the gradients of what the layers give, from the loss back; those
    of the weights. No gradient is stored. Hooks are there for this call alone.
    """
    for name, weight in model.named_parameters():
        if not _is_finite(weight):
            return f"the weight {name} is not finite"
    forward: list[str] = []
    backward: list[str] = []
    # Compiled layers call no hooks of what is within them.
    with torch.compiler.set_stance("force_eager"), _watched(model, forward, backward):
        value = loss()
        if forward:
            return f"the first layer whose output is not finite is {forward[0]}"
        if not _is_finite(value):
            return "the output of every layer is finite, the loss made of them is not"
        weights = {name: one for name, one in model.named_parameters() if one.requires_grad}
        gradients = torch.autograd.grad(value, list(weights.values()), materialize_grads=True)
    if backward:
        return f"going back from the loss, the gradient is first not finite at the output of {backward[0]}"
    largest, size = "none", -1.0
    for name, gradient in zip(weights, gradients, strict=True):
        if not _is_finite(gradient):
            return f"the first gradient that is not finite is that of the weight {name}"
        if (peak := float(gradient.detach().abs().max())) > size:
            largest, size = name, peak
    return f"the largest gradient is that of the weight {largest}, {size:.3g}, and their norm overflows"


@contextmanager
def _watched(model: nn.Module, forward: list[str], backward: list[str]) -> Iterator[None]:
    """Notes the layers that give what is not finite, and those at whose outputs a gradient is not."""

    def look(name: str, layer: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        for tensor in _tensors(output):
            if not _is_finite(tensor):
                finite = all(_is_finite(one) for one in _tensors(given))
                forward.append(f"{name}, of {'finite input' if finite else 'input that is not finite'}")
            if tensor.requires_grad:
                tensor.register_hook(partial(look_back, name))  # type: ignore[no-untyped-call]

    def look_back(name: str, gradient: Tensor) -> None:
        if not _is_finite(gradient):
            backward.append(name)

    hooks = [
        layer.register_forward_hook(partial(look, name)) for name, layer in model.named_modules() if name
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(given: Any) -> list[Tensor]:
    given = given if isinstance(given, tuple | list) else (given,)
    return [one for one in given if isinstance(one, Tensor)]


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor.detach()).all())
