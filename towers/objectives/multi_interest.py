"""Several interests of a profile: K vectors per position, of which the best counts."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from towers.objectives.negatives import Negatives
from towers.objectives.sampled_softmax import sampled_softmax

_NUM_TURNS = 10


def routed_to_target(
    query: Float[Tensor, "P K D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, "P T"],
    *,
    temperature: float | None = None,
) -> Float[Tensor, "P T D"]:
    """The interest that each target is learned by, the one that scores it best: argmax_k <q_pk, v_t> - b_k.

    temperature: where given, b is the handicap under which all interests have an even share of these targets,
    as `handicaps` has it. Otherwise it is 0, and the interest that is best at first may learn from everything
    while the others learn nothing. Where several processes train, each evens out its own.
    The choice itself has no gradient. Where the row is negative it is any. As one position for each target it
    goes into any loss.
    Source: ComiRec, Cen et al., KDD 2020, arXiv:2005.09347, equation 7, with b = 0.
    """
    with torch.no_grad():
        score = torch.einsum("pkd,ptd->ptk", query, item[target_row.clamp(min=0)]).float()
        if temperature is not None:
            score = score - handicaps(score[target_row >= 0], temperature)
        best = score.argmax(2)
    return query.gather(1, best[..., None].expand(-1, -1, query.shape[2]))


def handicaps(score: Float[Tensor, "n K"], temperature: float) -> Float[Tensor, " K"]:
    """What to take off each interest's scores so that each has 1 / K of the n targets.

    b with mean_n softmax_k( (s_nk - b_k) / temperature ) = 1 / K, found by scaling in turns; a target counts
    in parts where interests are near each other. 0 without targets.
    Source: the equal partition of SwAV, Caron et al. 2020, arXiv:2006.09882, by Sinkhorn's iteration.
    """
    handicap = score.new_zeros(score.shape[1])
    if len(score) == 0:
        return handicap
    for _ in range(_NUM_TURNS):
        share = torch.log_softmax((score - handicap) / temperature, dim=1).logsumexp(0) - math.log(len(score))
        handicap = handicap + temperature * (share + math.log(len(handicap)))
    return handicap


def max_softmax(
    query: Float[Tensor, "P K D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, "P ..."],
    weight: Float[Tensor, "P ..."],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Full softmax of the score that is served, the best interest's: the weighted mean, in nats.

    loss = sum_pt w_pt ( log sum_j exp(s_pj) - s_pt ) / sum_pt w_pt,  s_pj = max_k <q_pk, v_j> / temperature.
    Every item is its own interest's negative, so an interest is pushed only by what it would have retrieved.
    Ties have the gradient of one of the best.
    """
    everything = torch.arange(len(item), device=item.device)
    catalogue = Negatives(everything, torch.zeros(len(item), device=item.device))
    return sampled_softmax(query, item, target_row, weight, catalogue, temperature=temperature)
