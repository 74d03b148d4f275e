"""Towers whose weights are the moving average of those that are trained."""

import copy

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from towers.nets.two_tower import TwoTower


class AveragedTowers(nn.Module):
    """A second pair of towers beside the trained ones; what is validated, selected and exported.

    average ← d · average + (1 - d) · weights after each step t = 0, 1, …, d = min(decay, (1 + t) / (10 + t)):
    the first steps count for little once a few have followed, so that a short training is averaged too. The
    encoder and the buffers, which nothing learns, are shared. The average is part of the state of whoever
    holds it, and so of its checkpoints.
    Source: Polyak and Juditsky 1992, doi:10.1137/0330046; the warm-up of the decay is that of TensorFlow's
    ExponentialMovingAverage.
    """

    def __init__(self, towers: TwoTower, decay: float) -> None:
        super().__init__()
        self.decay = decay
        shared = {id(one): one for one in (towers.encoder, *towers.buffers())}
        # Without gradients, so that processes which train together do not wait for any.
        self.towers = copy.deepcopy(towers, shared).requires_grad_(False)
        # To walk through all modules for them takes longer than to average them.
        self._averages, self._learned = list(self.towers.parameters()), list(towers.parameters())

    def update(self, num_updates: int) -> None:
        """Takes in the weights after a step, before which the average was updated `num_updates` times."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        step = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        step(self._averages, self._learned, None)
