"""Binary cross-entropy with sampled negatives, plain and calibrated: for comparison with the softmax."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from towers.objectives.chunked import scored_sum
from towers.objectives.masks import first_of_each
from towers.objectives.negatives import Negatives
from towers.objectives.sampled_softmax import in_lines, weighted_mean


def binary_cross_entropy(
    query: Float[Tensor, "P *K D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, "P ..."],
    weight: Float[Tensor, "P ..."],
    negatives: Negatives,
    *,
    temperature: float,
    beta: float = 1.0,
    hard_row: Int64[Tensor, "P H"] | None = None,
    blocked_row: Int64[Tensor, "P X"] | None = None,
) -> Float[Tensor, ""]:
    """Every target against its negatives, each by itself: the weighted mean over targets, in nats.

    loss = sum_pt w_pt ( -beta log sigma(s_pt) - sum_j log(1 - sigma(s_pj)) ) / (m_p + 1) / sum_pt w_pt,
    s_pj = <q_p, v_j> / temperature, over the m_p negatives j of p that are not masked: those of a target's
    row, of `blocked_row`, and copies of hard ones. beta = 1 and one negative is the loss of SASRec, Kang and
    McAuley 2018, arXiv:1808.09781; another beta is gBCE, whose `gbce_beta` it is. log_weight is not used.
    """
    target_row, weight = in_lines(target_row), in_lines(weight)
    num_targets = target_row.shape[1]
    own_row = target_row if hard_row is None else torch.cat([target_row, hard_row], 1)
    hard = first_of_each(own_row)[:, num_targets:]

    def formula(own: Tensor, score: Tensor, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        share = weight[part].to(score.dtype)
        wanted = own[:, :num_targets].masked_fill(share == 0, 0.0)
        unwanted = own[:, num_targets:].masked_fill(~hard[part], -torch.inf)
        num = 1 + (score > -torch.inf).sum(1, keepdim=True) + hard[part].sum(1, keepdim=True)
        share = share / num
        whole = share.sum(1, keepdim=True)
        loss = (beta * share * F.softplus(-wanted)).sum()
        loss += (
            whole * (F.softplus(score).sum(1, keepdim=True) + F.softplus(unwanted).sum(1, keepdim=True))
        ).sum()
        own_grad = torch.cat([-beta * share * torch.sigmoid(-wanted), whole * torch.sigmoid(unwanted)], 1)
        return loss, own_grad, score.sigmoid_().mul_(whole)

    total = scored_sum(
        query, item, own_row, negatives.row, formula, temperature=temperature, blocked_row=blocked_row
    )
    return weighted_mean(total, weight)


def gbce_beta(num_negatives: int, num_items: int, t: float) -> float:
    """The power of the positive's probability in gBCE: beta = alpha ( t (1 - 1/alpha) + 1/alpha ).

    alpha = num_negatives / (num_items - 1) is the share of negatives that are seen. t = 0 leaves the plain
    loss, of an overconfident model; t = 1 gives beta = alpha, at which the scores are calibrated.
    Source: Petrov and Macdonald, RecSys 2023, arXiv:2308.07192.
    """
    alpha = min(1.0, num_negatives / max(1, num_items - 1))
    return alpha * (t * (1.0 - 1.0 / alpha) + 1.0 / alpha)
