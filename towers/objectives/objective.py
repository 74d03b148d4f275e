"""The loss that the settings ask for: one function that training calls."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from towers.errors import ConfigError
from towers.objectives.binary import binary_cross_entropy, gbce_beta
from towers.objectives.hard_negatives import Search, exact_search, hard_negatives
from towers.objectives.log_q import Draws, uniform_draws
from towers.objectives.matryoshka import Loss, matryoshka
from towers.objectives.multi_interest import max_softmax, routed_to_target
from towers.objectives.negatives import (
    Negatives,
    counted,
    distinct,
    draw,
    draw_uniform,
    per_position,
    popularity,
    popularity_strata,
    stratified,
    uncorrected,
)
from towers.objectives.sampled_softmax import classic_log_weight, sampled_softmax
from towers.objectives.settings import (
    Correction,
    Frequencies,
    NegativeKind,
    ObjectiveKind,
    ObjectiveSettings,
    Routing,
)
from towers.objectives.softmax import full_softmax


@dataclass(frozen=True, slots=True)
class Sampling:
    """What negatives are drawn by.

    generator: the same draws for the same state, on any device; seeded by epoch, step and rank.
    count: (N,), how often each item is a target in training, or in proportion to it; above 0 for every
    target.
    of_column: (N,), the probability of each item in a draw by strata of a column; of those alone.
    streamed: gives the probability of rows to be a target, where it is not that of the counts.
    """

    generator: torch.Generator
    count: Float[Tensor, " N"]
    of_column: Float64[Tensor, " N"] | None = None
    streamed: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Negatives of P positions with T targets, drawn before any vector is there.

    negatives: shared by all positions, or of each. own_log_weight: (P, T), what the classic correction adds
    to the targets' scores. num_items: the size of the catalogue that they stand for.
    """

    negatives: Negatives
    own_log_weight: Float[Tensor, "P T"] | None
    num_items: int

    def at(self, place: Callable[[Tensor], Tensor]) -> "Drawn":
        """The same where items have other rows, each as `place` gives it."""
        negatives = replace(self.negatives, row=place(self.negatives.row))
        return replace(self, negatives=negatives)


def drawn_negatives(
    target_row: Int64[Tensor, "P T"],
    settings: ObjectiveSettings,
    sampling: Sampling,
    *,
    pool_row: Int64[Tensor, " B"] | None = None,
    num_interests: int = 1,
) -> Drawn:
    """The negatives of a loss that samples, for positions whose targets are known.

    Arguments are those of `objective_loss`; num_interests: vectors of a query.
    """
    if pool_row is None:
        pool_row = target_row[:, 0][target_row[:, 0] >= 0]
    # Each target of several interests is a position of its own, but where all of them are scored.
    routed = num_interests > 1 and settings.routing is not Routing.MAX
    num_positions = target_row.numel() if routed else len(target_row)
    row, draws = _rows_drawn(num_positions, settings, sampling, pool_row)
    classic = settings.kind is ObjectiveKind.SAMPLED_SOFTMAX and settings.correction is Correction.CLASSIC
    return Drawn(
        _corrected(row, draws, settings.correction)
        if settings.kind is ObjectiveKind.SAMPLED_SOFTMAX
        else uncorrected(row),
        classic_log_weight(draws, target_row) if classic else None,
        len(sampling.count),
    )


def objective_loss(
    query: Float[Tensor, "P *K D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, "P T"],
    weight: Float[Tensor, "P T"],
    settings: ObjectiveSettings,
    *,
    sampling: Sampling | None = None,
    pool_row: Int64[Tensor, " B"] | None = None,
    drawn: Drawn | None = None,
    history_row: Int64[Tensor, "P X"] | None = None,
    search: Search | None = None,
) -> Float[Tensor, ""]:
    """The loss of positions whose targets are known: a weighted mean over targets, in nats.

    query, item: unit vectors, the queries' (P, D) or K interests each. weight: 0 where the row is negative.
    sampling: of every loss that samples. pool_row: the in-batch negatives; the first targets where None, and
    those of all ranks where several train. drawn: in place of both, what was drawn by them already; then
    `item` may be of those items alone that a row here names, and no hard negatives are mined.
    history_row: what each position's profile has watched,
    before or later, -1 for none: never a hard negative, and masked with mask_history. search: the index that
    hard negatives are mined from; every item where None. Raises ConfigError where a setting asks for what was
    not given.
    """
    if settings.mask_history and history_row is None:
        raise ConfigError("objective.mask_history: true, but no history was given")
    sampled = settings.kind is not ObjectiveKind.FULL_SOFTMAX
    if sampled and drawn is None:
        if sampling is None:
            raise ConfigError(f"objective.kind: {settings.kind}, but nothing to sample by was given")
        num_interests = query.shape[1] if query.ndim == 3 else 1
        drawn = drawn_negatives(
            target_row, settings, sampling, pool_row=pool_row, num_interests=num_interests
        )
    asked = _Asked(
        query,
        target_row,
        weight,
        history_row if settings.mask_history else None,
        own_log_weight=None if drawn is None else drawn.own_log_weight,
    )
    if query.ndim == 3 and settings.routing is not Routing.MAX:
        asked = _routed(asked, item, settings)
    if settings.hard.num and sampled:
        if asked.query.ndim == 3:
            raise ConfigError(
                "objective.hard.num: mined for one query; expected 0 with several interests and routing=max"
            )
        asked = _with_hard(asked, item, search or exact_search(item.detach()), settings, history_row)
    loss = _loss(asked, settings, drawn)
    if settings.matryoshka:
        return matryoshka(loss, asked.query, item, settings.matryoshka)
    return loss(asked.query, item)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Positions with what is theirs: see sampled_softmax."""

    query: Tensor
    target_row: Tensor
    weight: Tensor
    blocked_row: Tensor | None = None
    hard_row: Tensor | None = None
    own_log_weight: Tensor | None = None


def _loss(asked: _Asked, settings: ObjectiveSettings, drawn: Drawn | None) -> Loss:
    """The loss as a function of both sides' vectors, whose negatives are drawn already."""
    target_row, weight, temperature = asked.target_row, asked.weight, settings.temperature
    kind = settings.kind
    if drawn is None:
        full = full_softmax if asked.query.ndim == 2 else max_softmax
        return lambda query, items: full(query, items, target_row, weight, temperature=temperature)
    negatives, num_items = drawn.negatives, drawn.num_items
    if kind is ObjectiveKind.SAMPLED_SOFTMAX:
        return lambda query, items: sampled_softmax(
            query,
            items,
            target_row,
            weight,
            negatives,
            temperature=temperature,
            own_log_weight=asked.own_log_weight,
            targets_compete=settings.targets_compete,
            hard_row=asked.hard_row,
            blocked_row=asked.blocked_row,
        )
    num_each = negatives.row.shape[-1]
    beta = gbce_beta(num_each, num_items, settings.gbce_t) if kind is ObjectiveKind.GBCE else 1.0
    return lambda query, items: binary_cross_entropy(
        query,
        items,
        target_row,
        weight,
        negatives,
        temperature=temperature,
        beta=beta,
        hard_row=asked.hard_row,
        blocked_row=asked.blocked_row,
    )


def _rows_drawn(
    num_positions: int, settings: ObjectiveSettings, sampling: Sampling, pool_row: Tensor
) -> tuple[Tensor, list[Draws]]:
    """Rows of negatives, (n,) or (P, M), and how probable they were."""
    num, num_items, device = settings.num_negatives, len(sampling.count), sampling.count.device
    shape = [num] if settings.shared else [num_positions, num]
    in_batch = _of_batch(settings, sampling, len(pool_row))
    uniform = uniform_draws(num_items, num, device)
    match settings.negatives:
        case NegativeKind.UNIFORM:
            return draw_uniform(num_items, shape, sampling.generator).to(device), [uniform]
        case NegativeKind.POPULARITY:
            probability = popularity(sampling.count, settings.popularity_power)
            return draw(probability, shape, sampling.generator), [Draws(probability, num)]
        case NegativeKind.STRATIFIED:
            probability = _of_strata(settings, sampling)
            return draw(probability, shape, sampling.generator), [Draws(probability, num)]
        case NegativeKind.IN_BATCH:
            return pool_row, [in_batch]
        case NegativeKind.MIXED if settings.by_column:
            probability = _of_strata(settings, sampling)
            drawn = draw(probability, shape, sampling.generator)
            return torch.cat([pool_row, drawn]), [in_batch, Draws(probability, num)]
        case NegativeKind.MIXED:
            anything = draw_uniform(num_items, shape, sampling.generator).to(device)
            return torch.cat([pool_row, anything]), [in_batch, uniform]


def _of_batch(settings: ObjectiveSettings, sampling: Sampling, num_rows: int) -> Draws:
    """The targets of a batch as draws: of a position's own there is always one, all others come by chance."""
    num = max(1, num_rows - 1)
    if settings.frequencies is Frequencies.COUNTED:
        return Draws(popularity(sampling.count, 1.0), num)
    if sampling.streamed is None:
        raise ConfigError(f"objective.frequencies: {settings.frequencies}, but no stream was given")
    return Draws(sampling.streamed, num)


def _of_strata(settings: ObjectiveSettings, sampling: Sampling) -> Tensor:
    """The probability of each item in a draw by strata, (N,)."""
    if not settings.by_column:
        stratum = popularity_strata(sampling.count, settings.num_strata)
        row = torch.arange(len(stratum), device=stratum.device)
        return stratified(row, stratum, settings.strata_power)
    if sampling.of_column is None:
        raise ConfigError(f"objective.strata: {settings.strata}, but no strata of items were given")
    return sampling.of_column


def _corrected(drawn: Tensor, draws: list[Draws], correction: Correction) -> Negatives:
    if correction is Correction.NONE:
        return uncorrected(drawn)
    if drawn.ndim == 2:
        return per_position(drawn, draws[0])
    return distinct(drawn, draws) if correction is Correction.EXACT else counted(drawn, draws)


def _routed(asked: _Asked, item: Tensor, settings: ObjectiveSettings) -> _Asked:
    """One position for each target, of the interest it chose; its other targets are what they were to it."""
    num_targets = asked.target_row.shape[1]
    others = torch.tensor(
        [[other for other in range(num_targets) if other != own] for own in range(num_targets)],
        dtype=torch.int64,
        device=item.device,
    )
    other_row = asked.target_row[:, others].flatten(0, 1)
    blocked = asked.blocked_row
    blocked = None if blocked is None else blocked.repeat_interleave(num_targets, 0)
    compete = settings.kind is ObjectiveKind.SAMPLED_SOFTMAX and settings.targets_compete
    balance = settings.temperature if settings.routing is Routing.BALANCED else None
    routed = routed_to_target(asked.query, item, asked.target_row, temperature=balance)
    return _Asked(
        routed.flatten(0, 1),
        asked.target_row.flatten()[:, None],
        asked.weight.flatten()[:, None],
        blocked_row=blocked if compete else _joined(blocked, other_row),
        hard_row=other_row if compete else None,
        own_log_weight=None if asked.own_log_weight is None else asked.own_log_weight.flatten()[:, None],
    )


def _with_hard(
    asked: _Asked, item: Tensor, search: Search, settings: ObjectiveSettings, history_row: Tensor | None
) -> _Asked:
    """The same with hard negatives; what the position asks for, or its profile has watched, is none."""
    known = [row for row in (asked.target_row, asked.hard_row, asked.blocked_row) if row is not None]
    if history_row is not None:
        known.append(history_row.repeat_interleave(len(asked.query) // max(1, len(history_row)), 0))
    hard = hard_negatives(asked.query, item, torch.cat(known, 1), search, settings.hard)
    return replace(asked, hard_row=_joined(asked.hard_row, hard))


def _joined(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else torch.cat([one, other], 1)
