"""Trained towers → towers that also know new titles and values; all that was learned is carried over by id.

Growing changes no answer, but where the ticks of titles' ages are laid out anew: a new row starts where its
value was read from before, and learning goes on there.
"""

from typing import cast

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from towers.data.dataset import Dataset
from towers.data.encoders import TableEncoder
from towers.data.feature_encoder import FeatureEncoder, training_rows
from towers.data.features import ID_COLUMN, LISTS, TABLES, Feature, FeatureKind
from towers.data.split import Split
from towers.errors import ConfigError
from towers.nets.ages import Ticks
from towers.nets.feature_tables import FeatureTable
from towers.nets.moments import Clock
from towers.nets.title_bags import TitleBags
from towers.nets.two_tower import TwoTower

_FIXED = ("scales", "rarities", "vector_scales", "num_dated")
"""What is fitted once: weights that were learned with it would not fit another."""


def grown_towers(towers: TwoTower, dataset: Dataset, parts: Split) -> TwoTower:
    """The towers that also know the titles, profiles and values that a later log trains on."""
    encoder = towers.encoder.grown(*training_rows(dataset, parts))
    last = parts.learned_seconds[1]
    clock = None if towers.clock is None else towers.clock.grown(last)
    # Nothing is learned of a tick: they are laid out anew, and the towers say the same between others.
    ages = towers.ages and Ticks.over(towers.ages.start_seconds, last, towers.ages.num)
    return carry_over(towers, encoder, dataset.items, clock, ages)


@torch.no_grad()
def carry_over(
    towers: TwoTower,
    encoder: FeatureEncoder,
    items: pa.Table,
    clock: Clock | None = None,
    ages: Ticks | None = None,
) -> TwoTower:
    """Towers over a grown encoder with everything that `towers` learned.

    encoder: `towers.encoder.grown(…)`. items: the catalogue, in which a new value of a list finds its start.
    clock: `towers.clock.grown(…)`, or None for the clock as it is; a new moment starts as the last one.
    ages: the ticks that reach on, or None for those as they are.
    Every row of an embedding table keeps its weights. A new row starts as a copy of the one that its value
    was read from before: its hash bucket, or else row 0, that of all without their own. A value of a list
    that is not hashed was left out before. It starts at the mean, over the titles that have it, of what they
    have beside it, so that they stay where they were: to rounding, where a single title that the towers know
    has the value, which is so for all that min_count = 2 left out.
    Raises ConfigError where the encoder is not grown from that of the towers.
    """
    _check_grown(towers.encoder.items, encoder.items)
    _check_grown(towers.encoder.profiles, encoder.profiles)
    grown = TwoTower(towers.settings, encoder, clock or towers.clock, ages or towers.ages)
    grown.train(towers.training)
    started = grown.state_dict()  # the weights themselves, not copies
    for name, learned in towers.state_dict().items():
        started[name][: len(learned)] = learned
    for old, new in zip(towers.pairs(), grown.pairs(), strict=True):
        _start_new_rows(towers.encoder.items, encoder.items, old.items.tables, new.items.tables, items)
        _start_new_rows(
            towers.encoder.profiles,
            encoder.profiles,
            old.users.profile.tables,
            new.users.profile.tables,
            None,
        )
        for before, after in zip(old.users.moments(), new.users.moments(), strict=True):
            after.knot[len(before.knot) :] = before.knot[-1]
    return grown


def _check_grown(before: TableEncoder, after: TableEncoder) -> None:
    if before.features != after.features:
        raise ConfigError(
            "features: are not those that the towers were trained with; expected the same: what is declared "
            "anew is learned from the start"
        )
    kept = all(
        after.vocabularies[name].ids[: len(vocabulary)] == vocabulary.ids
        for name, vocabulary in before.vocabularies.items()
    )
    same = all(getattr(before, fixed) == getattr(after, fixed) for fixed in _FIXED)
    if not kept or not same:
        raise ConfigError("features: rows or scales have moved; expected the towers' own encoder, grown")


def _start_new_rows(
    before: TableEncoder,
    after: TableEncoder,
    learned: nn.ModuleList,
    started: nn.ModuleList,
    items: pa.Table | None,
) -> None:
    """Fills the rows of each table that are not carried over."""
    for feature, old, new in zip(after.of_kind(*TABLES), learned, started, strict=True):
        old_table, new_table = cast("FeatureTable", old), cast("FeatureTable", new)
        first = len(old_table.row.weight)
        if feature.kind in LISTS and not feature.buckets and items is not None:
            start = _beside(before, after, feature, old_table, items)
        else:
            num_known = len(before.vocabularies[feature.name])
            values = pa.array(after.vocabularies[feature.name].ids[num_known:], pa.large_string())
            start = old_table.row.weight[before.rows(feature, values)]
        new_table.row.weight[first:] = start


def _beside(
    before: TableEncoder, after: TableEncoder, feature: Feature, table: FeatureTable, items: pa.Table
) -> Float[Tensor, "n W"]:
    """For each new value of a list: the mean over titles with it, known ones if any, of what they had."""
    first, size = before.table_size(feature), after.table_size(feature)
    old, new = before.bags(feature, items), after.bags(feature, items)
    mean = TitleBags.of(old).sums(table.row.weight)
    title = np.repeat(np.arange(items.num_rows), np.diff(new.offset))[new.row >= first]
    value = new.row[new.row >= first] - first
    known = _known(before, items)[title]
    has_known = np.bincount(value[known], minlength=size - first) > 0
    taken = torch.from_numpy(np.flatnonzero(known | ~has_known[value]))
    place, source = torch.from_numpy(value)[taken], torch.from_numpy(title)[taken]
    total = torch.zeros(size - first, mean.shape[1]).index_add_(0, place, mean[source])
    return total / torch.bincount(place, minlength=size - first).clamp(min=1)[:, None]


def _known(encoder: TableEncoder, items: pa.Table) -> Bool[np.ndarray, " N"]:
    """The titles whose id has a row of its own; all where no id is declared."""
    for feature in encoder.of_kind(FeatureKind.CATEGORICAL):
        if feature.column == ID_COLUMN:
            own: np.ndarray = encoder.categorical(feature, items) > feature.buckets
            return own
    return np.ones(items.num_rows, dtype=bool)
