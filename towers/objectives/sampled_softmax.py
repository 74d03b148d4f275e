"""Softmax over a sample of the catalogue, corrected to learn what the softmax over all of it would."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from towers.objectives.chunked import scored_sum
from towers.objectives.log_q import Draws, log_expected_count
from towers.objectives.masks import first_of_each
from towers.objectives.negatives import Negatives


def sampled_softmax(
    query: Float[Tensor, "P *K D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, "P ..."],
    weight: Float[Tensor, "P ..."],
    negatives: Negatives,
    *,
    temperature: float,
    own_log_weight: Float[Tensor, "P ..."] | None = None,
    targets_compete: bool = True,
    hard_row: Int64[Tensor, "P H"] | None = None,
    blocked_row: Int64[Tensor, "P X"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of weighted targets against sampled negatives: their weighted mean, in nats.

    loss = sum_pt w_pt ( log Z_p - s_pt ) / sum_pt w_pt,  s_pj = <q_p, v_j> / temperature,
    Z_p = sum_{i in own(p)} exp(s_pi) + sum_{j sampled, not in own(p)} exp(s_pj + l_j),  l_j = log_weight.

    own(p) are the position's targets and its hard negatives, each once: they are there with certainty, so
    they are not corrected, and a copy of one among the negatives is masked. So E[Z_p] is the sum over the
    whole catalogue, and hard negatives make it less noisy, not biased. For one target its gradient is that of
    Khrylchenko et al., RecSys 2025, arXiv:2507.09331, section 3.3, without its stop-gradient:
    their sg(1 - P(i|p)) log( sum_j exp(s_pj - log Q'_j) / exp(s_pi) ) has the same, with P estimated by the
    same negatives; unlike theirs, the value is an estimate of the full softmax's.

    target_row, weight: (P, T), or (P,) for one target; a weight of 0 may have a negative row.
    own_log_weight: added to the targets' scores too; `classic_log_weight` for the older correction.
    targets_compete: whether the position's other targets are in Z, as in the full softmax; else only the one.
    hard_row: negatives that are each position's own, -1 for none. blocked_row: rows that count nowhere among
    the negatives, such as the history's. query may hold K interests, of which the best counts for each item.
    """
    target_row, weight = in_lines(target_row), in_lines(weight)
    num_targets = target_row.shape[1]
    own_row = target_row if hard_row is None else torch.cat([target_row, hard_row], 1)
    # Which of the own rows are in every target's sum.
    others = first_of_each(own_row)
    others[:, :num_targets] &= targets_compete

    def formula(own: Tensor, score: Tensor, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        share = weight[part].to(score.dtype)
        shift = negatives.log_weight if negatives.log_weight.ndim == 1 else negatives.log_weight[part]
        score += shift.to(score.dtype)
        if own_log_weight is not None:
            own[:, :num_targets] += in_lines(own_log_weight)[part].to(own.dtype)
        peak = _largest(own, score)
        wanted = own[:, :num_targets]
        odds, own_odds = score.sub_(peak).exp_(), (own - peak).exp()
        total = odds.sum(1, keepdim=True) + (own_odds * others[part]).sum(1, keepdim=True)
        if not targets_compete:
            total = total + own_odds[:, :num_targets]
        asked = share > 0
        loss = torch.where(asked, share * (total.log() + peak - wanted), 0.0).sum()
        each = torch.where(asked, share / total, 0.0)
        all_of_them = each.sum(1, keepdim=True)
        own_grad = own_odds * others[part] * all_of_them
        own_grad[:, :num_targets] -= share
        if not targets_compete:
            own_grad[:, :num_targets] += own_odds[:, :num_targets] * each
        return loss, own_grad, odds.mul_(all_of_them)

    total = scored_sum(
        query, item, own_row, negatives.row, formula, temperature=temperature, blocked_row=blocked_row
    )
    return weighted_mean(total, weight)


def classic_log_weight(draws: Sequence[Draws], target_row: Int64[Tensor, "*P"]) -> Float[Tensor, "*P"]:
    """What the older correction adds to a target's score: -log Q, as though it had been sampled too.

    s_pj - log Q_j for every column, the target's included: Yi et al., RecSys 2019,
    doi:10.1145/3298689.3346996. It weighs a rare target more heavily in its own denominator than the
    catalogue does. 0 where there is none.
    """
    found = -log_expected_count(draws, target_row.clamp(min=0))
    return torch.where(target_row >= 0, found, 0.0)


def in_lines(of_targets: Shaped[Tensor, "P ..."]) -> Shaped[Tensor, "P T"]:
    """A line for each position, whether it has one target, (P,), or T of them, (P, T)."""
    return of_targets[:, None] if of_targets.ndim == 1 else of_targets


def weighted_mean(total: Float[Tensor, ""], weight: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The sum of weighted losses over the sum of weights; 0 where nothing has any weight."""
    whole = weight.sum(dtype=total.dtype)
    return total * torch.where(whole > 0, 1.0 / whole, 0.0)


def _largest(own: Tensor, score: Tensor) -> Tensor:
    """The largest score of a position, (C, 1); finite where it has none at all."""
    largest = own.amax(1, keepdim=True)
    if score.shape[1]:
        largest = torch.maximum(largest, score.amax(1, keepdim=True))
    return largest.clamp(min=torch.finfo(score.dtype).min)
