"""Exported towers → the arrays that `kernels` reads."""

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from retrieval.user_tower.kernels import OUTPUT_STEP, Weights
from towers.nets.attention import Block
from towers.nets.moments import Moments
from towers.nets.user_tower import TimeUse, UserTower


@torch.inference_mode()
def weights_of(tower: UserTower) -> Weights:
    """The weights of a user tower, copied and laid out for the kernel."""
    dim = len(tower.start)
    blocks = [cast("Block", block) for block in tower.blocks]
    layers = [_layer(block, dim) for block in blocks]
    out_norm, out = cast("nn.LayerNorm", tower.out[0]), cast("nn.Linear", tower.out[1])
    out_weight, out_bias = _after(out_norm, out.weight, out.bias)
    clock, ages, newness = tower.moment_in and tower.moment_in.clock, tower.ages, tower.newness
    timed = tower.time is not TimeUse.NONE
    return Weights(
        item=_array(_stepped(tower.item.weight * dim**0.5)),
        minutes=_array(torch.cat([tower.minutes.weight.T, tower.minutes.bias[None]])),
        gap=_array(tower.gap.weight if timed else torch.zeros(0, dim)),
        moment_in=_knots(tower.moment_in, dim),
        moment_out=_knots(tower.moment_out, tower.width),
        clock=np.array([clock.start_seconds, clock.end_seconds, clock.step_seconds] if clock else [0, 0, 1]),
        **{name: _array(torch.stack([layer[name] for layer in layers])) for name in layers[0]},
        out=_array(_stepped(out_weight)),
        out_bias=_array(_stepped(out_bias)),
        recency=_array(tower.recency),
        taste=_array(torch.zeros(1, tower.width) if tower.taste is None else tower.taste),
        newness=_array(torch.zeros(tower.num_interests, 0) if newness is None else newness.weight),
        newness_bias=_array(torch.zeros(tower.num_interests) if newness is None else newness.bias),
        ticks=np.array([ages.start_seconds, ages.end_seconds, ages.num] if ages else [0, 1, 0]),
        no_bias=_array(_stepped(torch.zeros(dim))),
        asked=tower.time is TimeUse.REQUEST,
    )


def _layer(block: Block, dim: int) -> dict[str, Tensor]:
    """The arrays of one layer by their names in Weights."""
    query = block.qkv.weight[:dim] * (dim // block.num_heads) ** -0.5
    nothing = torch.zeros(dim)
    read, read_bias = _after(
        block.attention_norm,
        torch.cat([query, block.attention_gate.weight]),
        torch.cat([nothing, block.attention_gate.bias]),
    )
    told, told_bias = _after(block.attention_norm, block.qkv.weight[dim:], torch.cat([nothing, nothing]))
    feed, feed_bias = _after(
        block.feed_norm,
        torch.cat([block.feed.weight, block.feed_gate.weight]),
        torch.cat([nothing.repeat(4), block.feed_gate.bias]),
    )
    return {
        "read": _stepped(read),
        "read_bias": _stepped(read_bias),
        "told": _stepped(told),
        "told_bias": _stepped(told_bias),
        "distance_bias": block.distance_bias,
        "age_bias": torch.zeros(0, block.num_heads) if block.age_bias is None else block.age_bias,
        "attended": _stepped(block.attended.weight),
        "feed": _stepped(feed),
        "feed_bias": _stepped(feed_bias),
        "fed": _stepped(block.fed.weight),
    }


def _after(
    norm: nn.LayerNorm, weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"]
) -> tuple[Float[Tensor, "o i"], Float[Tensor, " o"]]:
    """A linear layer that does what the norm's own factors and summands did before it."""
    return weight * norm.weight, bias + weight @ norm.bias


def _stepped(value: Float[Tensor, "*n"]) -> Float[Tensor, "*m"]:
    """Zeros behind the last output, up to a multiple of OUTPUT_STEP."""
    return F.pad(value, (0, 0) * (value.ndim - 1) + (0, -len(value) % OUTPUT_STEP))


def _knots(moments: Moments | None, width: int) -> np.ndarray:
    return _array(torch.zeros(0, width) if moments is None else moments.knot)


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = np.array(value.detach().cpu().float().numpy(), order="C")
    return array
