"""Layers compiled where they stand, if this machine can."""

import warnings
from collections.abc import Iterable

import torch
from torch import nn

from towers.errors import ConfigError


def compile_layers(layers: Iterable[nn.Module], device: torch.device) -> None:
    """Compiles each layer in place, for batches of any shape; weights and their names stay.

    Raises ConfigError where nothing can be compiled for the device: at once, and not within the first step.
    """
    try:
        with warnings.catch_warnings():
            # torch 2.13's compiler is the one that still uses it.
            warnings.filterwarnings(
                "ignore", message=r"`torch\.jit\.script_method` is", category=DeprecationWarning
            )
            torch.compile(_probe)(torch.zeros(8, device=device))
    except Exception as error:  # whatever a missing or broken compiler brings about
        wanted = "Triton" if device.type == "cuda" else "a C++ compiler (g++ or clang++)"
        raise ConfigError(
            f"trainer.compile: nothing can be compiled for {device.type}: {_reason(error)}; expected "
            f"{wanted}: install it, or say trainer.compile=false"
        ) from error
    for layer in layers:
        layer.compile(dynamic=True)


def _probe(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.sin() + 1.0


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
