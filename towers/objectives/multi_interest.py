"""Several interests of a profile: K vectors per position, of which the best counts."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from towers.objectives.negatives import Negatives
from towers.objectives.sampled_softmax import sampled_softmax


def routed_to_target(
    query: Float[Tensor, "P K D"], item: Float[Tensor, "N D"], target_row: Int64[Tensor, "P T"]
) -> Float[Tensor, "P T D"]:
    """The interest that each target is learned by, the one that scores it best: argmax_k <q_pk, v_t>.

    The choice itself has no gradient. Where the row is negative it is any. As one position for each target it
    goes into any loss. Source: ComiRec, Cen et al., KDD 2020, arXiv:2005.09347, equation 7.
    """
    with torch.no_grad():
        score = torch.einsum("pkd,ptd->ptk", query, item[target_row.clamp(min=0)])
        best = score.argmax(2)
    return query.gather(1, best[..., None].expand(-1, -1, query.shape[2]))


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
