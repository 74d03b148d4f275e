import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.towers.objectives.drawn import Positions, positions, same, sampled_by_hand
from towers.errors import ConfigError
from towers.objectives.binary import binary_cross_entropy
from towers.objectives.hard_negatives import HardNegativeSettings
from towers.objectives.matryoshka import matryoshka
from towers.objectives.multi_interest import max_softmax
from towers.objectives.negatives import Negatives, popularity_strata, stratified, uncorrected
from towers.objectives.objective import Sampling, drawn_negatives, objective_loss
from towers.objectives.settings import (
    Correction,
    Frequencies,
    NegativeKind,
    ObjectiveKind,
    ObjectiveSettings,
    Routing,
)
from towers.objectives.softmax import full_softmax

ITEMS, POSITIONS, TAU = 9, 5, 0.5
COUNT = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0])
SAMPLED = ObjectiveSettings(kind=ObjectiveKind.SAMPLED_SOFTMAX, temperature=TAU, num_negatives=4)


def sampling(seed: int = 3) -> Sampling:
    return Sampling(torch.Generator().manual_seed(seed), COUNT)


def at_hand(interests: int = 0, targets: int = 2) -> Positions:
    return positions(11, num=POSITIONS, items=ITEMS, dim=4, targets=targets, interests=interests)


def uniform_rows(*shape: int) -> Tensor:
    """What a generator of the same state draws: the rows are known, their weights are worked out below."""
    return torch.randint(ITEMS, shape, generator=torch.Generator().manual_seed(3))


def test_the_default_is_the_full_softmax() -> None:
    at = at_hand()
    found = objective_loss(at.query, at.item, at.target, at.weight, ObjectiveSettings(temperature=TAU))
    same(found, full_softmax(at.query, at.item, at.target, at.weight, temperature=TAU), at)


def test_mixed_negatives_weigh_one_over_the_chance_that_batch_or_catalogue_brings_them() -> None:
    at = at_hand()
    pool, rows = at.target[:, 0].tolist(), uniform_rows(4).tolist()
    drawn = sorted(set(pool + rows))
    total = float(COUNT.sum())
    weights = [
        -math.log(1 - (1 - float(COUNT[row]) / total) ** (POSITIONS - 1) * (1 - 1 / ITEMS) ** 4)
        for row in drawn
    ]
    expected = sampled_by_hand(at, [drawn] * POSITIONS, [weights] * POSITIONS, TAU)
    same(objective_loss(at.query, at.item, at.target, at.weight, SAMPLED, sampling=sampling()), expected, at)


@pytest.mark.parametrize("negatives", [NegativeKind.IN_BATCH, NegativeKind.MIXED])
def test_streamed_frequencies_take_the_place_of_the_counted_ones(negatives: NegativeKind) -> None:
    at = at_hand()
    chance = torch.linspace(0.02, 0.4, ITEMS, dtype=torch.float64)
    rows = uniform_rows(4).tolist() if negatives is NegativeKind.MIXED else []
    drawn = sorted({*at.target[:, 0].tolist(), *rows})
    absent = [
        (1 - float(chance[row])) ** (POSITIONS - 1) * (1 - 1 / ITEMS) ** (4 if rows else 0) for row in drawn
    ]
    weights = [-math.log(1 - each) for each in absent]
    expected = sampled_by_hand(at, [drawn] * POSITIONS, [weights] * POSITIONS, TAU)
    settings = replace(SAMPLED, negatives=negatives, frequencies=Frequencies.STREAMED)
    streamed = replace(sampling(), streamed=lambda row: chance[row])
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=streamed)
    same(found, expected, at)
    with pytest.raises(ConfigError, match=r"objective\.frequencies: streamed, but no stream was given"):
        objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling())


def test_in_batch_negatives_corrected_the_classic_way_shift_every_score_by_log_q() -> None:
    at = at_hand()
    pool = at.target[:, 0].tolist()
    log_q = torch.log((POSITIONS - 1) * COUNT.double() / COUNT.sum())
    expected = sampled_by_hand(
        at,
        [pool] * POSITIONS,
        [[-float(log_q[row]) for row in pool]] * POSITIONS,
        TAU,
        shift=torch.where(at.target >= 0, -log_q[at.target.clamp(min=0)], 0.0),
    )
    settings = replace(SAMPLED, negatives=NegativeKind.IN_BATCH, correction=Correction.CLASSIC)
    same(objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling()), expected, at)


def test_uncorrected_negatives_count_as_often_as_they_were_drawn() -> None:
    at = at_hand()
    rows = uniform_rows(4).tolist()
    expected = sampled_by_hand(at, [rows] * POSITIONS, [[0.0] * 4] * POSITIONS, TAU)
    settings = replace(SAMPLED, negatives=NegativeKind.UNIFORM, correction=Correction.NONE)
    same(objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling()), expected, at)


@pytest.mark.parametrize("correction", [Correction.EXACT, Correction.CLASSIC])
def test_negatives_of_each_position_weigh_one_over_how_often_they_are_expected(
    correction: Correction,
) -> None:
    at = at_hand()
    weight = -math.log(4 / ITEMS)
    lift = weight * (at.target >= 0).double()
    shift = lift if correction is Correction.CLASSIC else None
    expected = sampled_by_hand(
        at, uniform_rows(POSITIONS, 4).tolist(), [[weight] * 4] * POSITIONS, TAU, shift=shift
    )
    settings = replace(SAMPLED, negatives=NegativeKind.UNIFORM, shared=False, correction=correction)
    same(objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling()), expected, at)


def test_popular_negatives_become_the_full_softmax_as_they_are_many() -> None:
    at = at_hand()
    settings = replace(SAMPLED, negatives=NegativeKind.POPULARITY, num_negatives=4000)
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling())
    same(found, full_softmax(at.query, at.item, at.target, at.weight, temperature=TAU), at, rtol=1e-6)


def test_strata_of_popularity_are_drawn_alike_and_so_are_the_items_of_each() -> None:
    # 60 counts: the first item alone has half of them, the next two a third.
    count, row = torch.tensor([5.0, 30.0, 10.0, 10.0, 3.0, 2.0]), torch.arange(6)
    of_two = stratified(row, popularity_strata(count, 2), 0.0)
    assert of_two.tolist() == pytest.approx([0.1, 0.5, 0.1, 0.1, 0.1, 0.1])
    # Of six strata the first item fills three: two of them are empty, and are not drawn.
    of_six = stratified(row, popularity_strata(count, 6), 0.0)
    assert of_six.tolist() == pytest.approx([1 / 12, 1 / 4, 1 / 4, 1 / 4, 1 / 12, 1 / 12])
    assert stratified(row, popularity_strata(count, 1), 0.0).tolist() == pytest.approx([1 / 6] * 6)
    # By their sizes, 1 and 5: the items are drawn alike.
    assert stratified(row, popularity_strata(count, 2), 1.0).tolist() == pytest.approx([1 / 6] * 6)


def test_negatives_by_strata_become_the_full_softmax_as_they_are_many() -> None:
    at = at_hand()
    settings = replace(SAMPLED, negatives=NegativeKind.STRATIFIED, num_negatives=4000)
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling())
    same(found, full_softmax(at.query, at.item, at.target, at.weight, temperature=TAU), at, rtol=1e-6)


def test_negatives_by_strata_of_each_position_weigh_one_over_how_often_they_are_expected() -> None:
    at = at_hand()
    settings = replace(SAMPLED, negatives=NegativeKind.STRATIFIED, shared=False, num_strata=2)
    rows = drawn_negatives(at.target, settings, sampling()).negatives.row
    # Half of all counts lies in the first items of COUNT by its order, reckoned one by one.
    order, reached, first = COUNT.argsort(descending=True).tolist(), 0.0, []
    for row in order:
        if reached < float(COUNT.sum()) / 2:
            first.append(row)
        reached += float(COUNT[row])
    chance = [0.5 / len(first) if row in first else 0.5 / (ITEMS - len(first)) for row in range(ITEMS)]
    weights = [[-math.log(rows.shape[1] * chance[row]) for row in line] for line in rows.tolist()]
    expected = sampled_by_hand(at, rows.tolist(), weights, TAU)
    same(objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling()), expected, at)


# What items are: one of a small kind, one of two kinds, and the others of a large one.
KINDS = [{"rare"}, {"rare", "common"}, *[{"common"}] * 6, {"none"}]


def chance_by_hand(power: float) -> list[float]:
    """Of each item, a kind after another: its share by its size, and then the item's part of it."""
    names = sorted(set().union(*KINDS))
    size = {name: sum(1 / len(kinds) for kinds in KINDS if name in kinds) for name in names}
    total = sum(size[name] ** power for name in names)
    return [sum(size[name] ** power / total / len(kinds) / size[name] for name in kinds) for kinds in KINDS]


def by_kind(power: float, seed: int = 3) -> Sampling:
    names = sorted(set().union(*KINDS))
    pairs = [(row, names.index(name)) for row, kinds in enumerate(KINDS) for name in sorted(kinds)]
    row, stratum = torch.tensor(pairs).T
    return replace(sampling(seed), of_column=stratified(row, stratum, power))


BY_GENRE = replace(SAMPLED, negatives=NegativeKind.STRATIFIED, strata="genres")


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shared", [True, False])
def test_draws_by_strata_come_as_often_as_is_said_of_them(power: float, shared: bool) -> None:
    settings = replace(BY_GENRE, strata_power=power, shared=shared, correction=Correction.NONE)
    chance, found = chance_by_hand(power), torch.zeros(ITEMS, dtype=torch.float64)
    at = at_hand()
    for seed in range(100):
        drawn = drawn_negatives(at.target, replace(settings, num_negatives=200), by_kind(power, seed))
        # What is shared is there once, with the log of how often it was drawn.
        found.index_add_(
            0, drawn.negatives.row.flatten(), drawn.negatives.log_weight.double().exp().flatten()
        )
    assert found.sum() == pytest.approx(100 * 200 * (1 if shared else POSITIONS))
    # Five standard deviations of 20,000 draws are below .018.
    torch.testing.assert_close((found / found.sum()).tolist(), chance, rtol=0, atol=0.018)
    if power == 1.0:
        assert chance == pytest.approx([1 / ITEMS] * ITEMS)


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("correction", [Correction.EXACT, Correction.CLASSIC])
def test_negatives_by_strata_of_a_column_weigh_one_over_how_often_they_are_expected(
    power: float, correction: Correction
) -> None:
    at = at_hand()
    settings = replace(BY_GENRE, shared=False, strata_power=power, correction=correction)
    log_q = [math.log(4 * chance) for chance in chance_by_hand(power)]
    rows = drawn_negatives(at.target, settings, by_kind(power)).negatives.row.tolist()
    lift = torch.tensor([[-log_q[row] if row >= 0 else 0.0 for row in line] for line in at.target.tolist()])
    expected = sampled_by_hand(
        at,
        rows,
        [[-log_q[row] for row in line] for line in rows],
        TAU,
        shift=lift.double() if correction is Correction.CLASSIC else None,
    )
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=by_kind(power))
    same(found, expected, at, rtol=1e-6 if correction is Correction.CLASSIC else 1e-9)


def test_mixed_negatives_draw_by_strata_what_is_beside_the_batchs_own() -> None:
    at = at_hand()
    settings = replace(BY_GENRE, negatives=NegativeKind.MIXED)
    chance, total = chance_by_hand(0.0), float(COUNT.sum())
    alone = replace(settings, negatives=NegativeKind.STRATIFIED)
    rows = drawn_negatives(at.target, alone, by_kind(0.0)).negatives.row.tolist()
    drawn = sorted({*at.target[:, 0].tolist(), *rows})
    weights = [
        -math.log(1 - (1 - float(COUNT[row]) / total) ** (POSITIONS - 1) * (1 - chance[row]) ** 4)
        for row in drawn
    ]
    expected = sampled_by_hand(at, [drawn] * POSITIONS, [weights] * POSITIONS, TAU)
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=by_kind(0.0))
    same(found, expected, at)


def test_negatives_by_strata_of_a_column_become_the_full_softmax_as_they_are_many() -> None:
    at = at_hand()
    settings = replace(BY_GENRE, num_negatives=4000)
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=by_kind(0.0))
    same(found, full_softmax(at.query, at.item, at.target, at.weight, temperature=TAU), at, rtol=1e-6)


def test_the_pool_of_all_ranks_takes_the_place_of_the_batchs_own() -> None:
    at = at_hand()
    settings = replace(SAMPLED, negatives=NegativeKind.IN_BATCH, correction=Correction.NONE)
    pool = torch.tensor([8, 8, 0, 1, 2, 3])
    found = objective_loss(
        at.query, at.item, at.target, at.weight, settings, sampling=sampling(), pool_row=pool
    )
    same(found, sampled_by_hand(at, [pool.tolist()] * 5, [[0.0] * 6] * 5, TAU), at)


def test_a_masked_history_and_targets_that_do_not_compete_are_left_out() -> None:
    at = at_hand()
    history = torch.tensor([[0, 1], [2, -1], [3, 3], [-1, -1], [8, 7]])
    settings = replace(
        SAMPLED,
        negatives=NegativeKind.IN_BATCH,
        correction=Correction.NONE,
        mask_history=True,
        targets_compete=False,
    )
    pool = at.target[:, 0].tolist()
    found = objective_loss(
        at.query, at.item, at.target, at.weight, settings, sampling=sampling(), history_row=history
    )
    expected = sampled_by_hand(at, [pool] * 5, [[0.0] * 5] * 5, TAU, compete=False, blocked=history.tolist())
    same(found, expected, at)


@pytest.mark.parametrize(
    ("kind", "beta"), [(ObjectiveKind.BCE, 1.0), (ObjectiveKind.GBCE, 0.25 + 0.75 * 4 / 8)]
)
def test_the_binary_losses_take_negatives_as_they_are_drawn(kind: ObjectiveKind, beta: float) -> None:
    at = at_hand()
    settings = replace(SAMPLED, kind=kind, negatives=NegativeKind.UNIFORM, shared=False)
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling())
    negatives = uncorrected(uniform_rows(POSITIONS, 4))
    expected = binary_cross_entropy(
        at.query, at.item, at.target, at.weight, negatives, temperature=TAU, beta=beta
    )
    same(found, expected, at)


def test_hard_negatives_are_mined_and_always_there() -> None:
    at = at_hand()
    settings = replace(
        SAMPLED,
        negatives=NegativeKind.IN_BATCH,
        correction=Correction.NONE,
        hard=HardNegativeSettings(num=2, share=1.0),
    )
    history = torch.tensor([[0], [2], [3], [-1], [8]])
    hard = []
    for p in range(POSITIONS):
        score = (at.item @ at.query[p]).tolist()
        known = {*at.target[p].tolist(), *history[p].tolist()}
        below = [row for row in range(ITEMS) if row not in known and score[row] < score[at.target[p, 0]]]
        hard.append(sorted(below, key=lambda row: -score[row])[:2])
    pool = at.target[:, 0].tolist()
    found = objective_loss(
        at.query, at.item, at.target, at.weight, settings, sampling=sampling(), history_row=history
    )
    same(found, sampled_by_hand(at, [pool] * 5, [[0.0] * 5] * 5, TAU, hard=hard), at)


def test_prefixes_see_the_same_negatives() -> None:
    at = at_hand()
    settings = replace(SAMPLED, negatives=NegativeKind.UNIFORM, correction=Correction.NONE)
    negatives = uncorrected(uniform_rows(4))

    def loss(query: Tensor, item: Tensor) -> Tensor:
        cut = Positions(query, item, at.target, at.weight)
        row, log_weight = negatives.row.tolist(), negatives.log_weight.tolist()
        return sampled_by_hand(cut, [row] * 5, [log_weight] * 5, TAU)

    found = objective_loss(
        at.query, at.item, at.target, at.weight, replace(settings, matryoshka=[2, 4]), sampling=sampling()
    )
    same(found, matryoshka(loss, at.query, at.item, [2, 4]), at)


def test_a_prefix_longer_than_the_vectors_is_refused() -> None:
    at = at_hand()
    with pytest.raises(ConfigError, match=r"objective\.matryoshka: 8 of vectors of 4 dimensions"):
        objective_loss(at.query, at.item, at.target, at.weight, ObjectiveSettings(matryoshka=[2, 8]))


def by_interest(at: Positions) -> Tensor:
    """Every target by its own best interest, against the whole catalogue."""
    total = torch.zeros((), dtype=torch.float64)
    for p in range(POSITIONS):
        for t, row in enumerate(at.target[p].tolist()):
            if row >= 0:
                of_each = [float((query @ at.item[row]).detach()) for query in at.query[p]]
                score = at.item @ at.query[p, of_each.index(max(of_each))] / TAU
                total = total + at.weight[p, t] * (torch.logsumexp(score, 0) - score[row])
    return total / at.weight.sum()


@pytest.mark.parametrize("kind", [ObjectiveKind.FULL_SOFTMAX, ObjectiveKind.SAMPLED_SOFTMAX])
def test_several_interests_learn_from_their_own_targets(kind: ObjectiveKind) -> None:
    at = at_hand(interests=3)
    # So many uniform draws that every item is among them: the sampled softmax is the full one.
    settings = replace(
        SAMPLED, kind=kind, negatives=NegativeKind.UNIFORM, num_negatives=4000, routing=Routing.TARGET
    )
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling())
    same(found, by_interest(at), at)


def test_an_interest_that_is_best_for_everything_leaves_the_others_their_share() -> None:
    at = at_hand(interests=2, targets=1)
    # The second interest points away from all that the first does: it is the best for no target.
    query = torch.stack([at.query[:, 0], at.query[:, 0] - 8.0 * at.item[at.target[:, 0]]], 1)

    def gradient(routing: Routing) -> Tensor:
        settings = ObjectiveSettings(temperature=TAU, routing=routing)
        loss = objective_loss(query, at.item, at.target, at.weight, settings)
        (grad,) = torch.autograd.grad(loss, query, retain_graph=True)
        return grad.abs().sum(2) > 0

    asked = at.weight[:, 0] > 0
    assert gradient(Routing.TARGET)[asked].sum(0).tolist() == [int(asked.sum()), 0]
    balanced = gradient(Routing.BALANCED)[asked]
    assert (balanced.sum(1) == 1).all()
    assert balanced[:, 1].any()
    assert balanced[:, 0].any()


def test_several_interests_may_share_every_item() -> None:
    at = at_hand(interests=3)
    settings = ObjectiveSettings(temperature=TAU, routing=Routing.MAX)
    found = objective_loss(at.query, at.item, at.target, at.weight, settings)
    same(found, max_softmax(at.query, at.item, at.target, at.weight, temperature=TAU), at)


def test_the_other_target_of_an_interest_is_no_negative_of_a_binary_loss() -> None:
    at = at_hand(interests=1)
    settings = replace(SAMPLED, kind=ObjectiveKind.BCE, negatives=NegativeKind.UNIFORM, num_negatives=4000)
    found = objective_loss(at.query, at.item, at.target, at.weight, settings, sampling=sampling())
    everything = Negatives(torch.arange(ITEMS), torch.zeros(ITEMS))
    expected = binary_cross_entropy(at.query, at.item, at.target, at.weight, everything, temperature=TAU)
    same(found, expected, at)


def test_what_is_asked_for_and_not_given_is_named() -> None:
    at = at_hand()
    with pytest.raises(ConfigError, match=r"objective\.kind: sampled_softmax"):
        objective_loss(at.query, at.item, at.target, at.weight, SAMPLED)
    with pytest.raises(ConfigError, match=r"objective\.mask_history"):
        objective_loss(at.query, at.item, at.target, at.weight, replace(SAMPLED, mask_history=True))
    with pytest.raises(ConfigError, match=r"objective\.strata: genres, but no strata of items were given"):
        objective_loss(at.query, at.item, at.target, at.weight, BY_GENRE, sampling=sampling())
    several = at_hand(interests=2)
    mined = replace(SAMPLED, hard=HardNegativeSettings(num=4), routing=Routing.MAX)
    with pytest.raises(ConfigError, match=r"objective\.hard\.num: mined for one query"):
        objective_loss(
            several.query, several.item, several.target, several.weight, mined, sampling=sampling()
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matryoshka": [64, 32]}, r"objective\.matryoshka: found \[64, 32\]; expected rising"),
        ({"matryoshka": [0, 32]}, r"objective\.matryoshka"),
        ({"kind": ObjectiveKind.BCE, "shared": False}, r"objective\.shared: false with negatives=mixed"),
        (
            {"strata": "genre"},
            r"objective\.strata: 'genre'; expected popularity, genres, .* attributes\.<name>",
        ),
        (
            {"frequencies": Frequencies.STREAMED},
            r"objective\.frequencies: streamed with kind=full_softmax, negatives=mixed, correction=exact",
        ),
        (
            {"frequencies": Frequencies.STREAMED, "kind": ObjectiveKind.GBCE},
            r"objective\.frequencies: streamed with kind=gbce, negatives=mixed",
        ),
        (
            {
                "frequencies": Frequencies.STREAMED,
                "kind": ObjectiveKind.SAMPLED_SOFTMAX,
                "correction": Correction.NONE,
            },
            r"objective\.frequencies: streamed .* correction=none: the correction of a batch's own",
        ),
        (
            {
                "frequencies": Frequencies.STREAMED,
                "kind": ObjectiveKind.SAMPLED_SOFTMAX,
                "negatives": NegativeKind.UNIFORM,
            },
            r"objective\.frequencies: streamed .* expected kind=sampled_softmax, negatives=in_batch or mixed",
        ),
        ({"strata": "attributes."}, r"objective\.strata: 'attributes\.'; expected"),
        ({"strata": "genres"}, r"objective\.strata: genres with kind=full_softmax: every item is a negative"),
        (
            {"negatives": NegativeKind.STRATIFIED},
            r"objective\.negatives: stratified with kind=full_softmax: every item is a negative there",
        ),
        (
            {"kind": ObjectiveKind.BCE, "negatives": NegativeKind.UNIFORM, "strata": "genres"},
            r"objective\.strata: genres with negatives=uniform, which draw by no strata",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ObjectiveSettings(**changes)  # type: ignore[arg-type]
