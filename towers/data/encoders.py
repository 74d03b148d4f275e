"""Tables → numbers, by encoders fitted on the rows that training may see.

An embedding table has row 0 for whatever has no other, then the buckets of hashed values, then one row per
value of the vocabulary: a vocabulary grows at the end, and no row ever moves.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Float64, Int64

from towers.data.columns import days, listed_texts, numbers, placed_texts, texts
from towers.data.encoded import Bags
from towers.data.features import LISTS, TABLES, Feature, FeatureKind, RowRule
from towers.data.hashing import collision_rate, hash_buckets
from towers.data.ngrams import ngram_buckets
from towers.data.rarity import Rarity
from towers.data.vectors import VectorScale
from towers.data.vocabulary import OOV, Vocabulary
from towers.errors import SchemaError
from towers.settings import settings_from_plain

log = logging.getLogger(__name__)

_FITTED = {
    "vocabularies": TABLES,
    "scales": (FeatureKind.NUMERIC,),
    "rarities": (FeatureKind.TEXT,),
    "vector_scales": (FeatureKind.VECTOR,),
    "num_dated": (FeatureKind.MOMENT,),
}
"""What is fitted, and for features of which kinds."""

_FEW = 64
"""Up to so many values, such as those of a request, are looked up as they come."""


@dataclass(frozen=True, slots=True)
class TableEncoder:
    """Fitted encoders of the features of one table.

    vocabularies: per feature with a table, the values with a row of their own; empty where all hash.
    scales: per number, mean and standard deviation over the training rows that have it.
    rarities: per text, how many training rows have what.
    vector_scales: per vector, mean and standard deviation of each entry.
    num_dated: per moment, how many training rows have one.
    """

    features: tuple[Feature, ...]
    vocabularies: dict[str, Vocabulary]
    scales: dict[str, tuple[float, float]]
    rarities: dict[str, Rarity]
    vector_scales: dict[str, VectorScale]
    num_dated: dict[str, int]

    def of_kind(self, *kinds: FeatureKind) -> tuple[Feature, ...]:
        """The features of these kinds, in their order."""
        return tuple(feature for feature in self.features if feature.kind in kinds)

    def table_size(self, feature: Feature) -> int:
        """Rows of the embedding table of a feature."""
        return 1 + feature.buckets + len(self.vocabularies[feature.name])

    def rows(self, feature: Feature, values: pa.Array) -> Int64[np.ndarray, " n"]:
        """The embedding row of each value of a large_string array; 0 where it is null or has no other."""
        vocabulary = self.vocabularies[feature.name]
        if len(values) <= _FEW:
            return _looked_up(feature, vocabulary, values)
        coded = values.dictionary_encode()  # so that each distinct value is looked up and hashed once
        row = _looked_up(feature, vocabulary, coded.dictionary)
        code = pc.fill_null(coded.indices, len(row)).to_numpy(zero_copy_only=False)
        found: np.ndarray = np.append(row, 0)[code]
        return found

    def categorical(self, feature: Feature, table: pa.Table) -> Int64[np.ndarray, " N"]:
        """The embedding row of each row of a table."""
        return self.rows(feature, texts(table, feature.column))

    def bags(self, feature: Feature, table: pa.Table) -> Bags:
        """The embedding rows of the lists or texts of a table; values without a row are left out."""
        if feature.kind is FeatureKind.TEXT:
            offset, bucket = ngram_buckets(texts(table, feature.column), feature.buckets, feature.first)
            weight = self.rarities[feature.name].weights(bucket, feature.min_count)
            parent = np.repeat(np.arange(table.num_rows), np.diff(offset))
            # Of unit length, as a text is read by many rows at once: it starts as large as a single value,
            # and two texts as near as their frequencies say, of which random rows are a projection.
            return _packed(parent, np.where(weight > 0, 1 + bucket, 0), weight, table.num_rows, norm=2)
        parent, place, values = placed_texts(table, feature.column, feature.first)
        weight = 1.0 / (1.0 + place) if feature.kind is FeatureKind.ORDERED else np.ones(len(place))
        return _packed(parent, self.rows(feature, values), weight, table.num_rows, norm=1)

    def vectors(self, feature: Feature, table: pa.Table) -> Float32[np.ndarray, "N E1"]:
        """The standardised vectors of a table, zeros where unknown; last their flag, 1 where known."""
        return self.vector_scales[feature.name].standardised(table, feature.column)

    def moments(self, feature: Feature, table: pa.Table) -> Float32[np.ndarray, " N"]:
        """The moments of a table in days since 1970, NaN where unknown."""
        return days(table, feature.column).astype(np.float32)

    def numeric(self, table: pa.Table) -> Float32[np.ndarray, "N F2"]:
        """The F standardised numbers of a table, 0 where unknown, then their flags, 1 where known."""
        values = np.zeros((table.num_rows, len(self.scales)))
        for place, feature in enumerate(self.of_kind(FeatureKind.NUMERIC)):
            mean, deviation = self.scales[feature.name]
            values[:, place] = (numbers(table, feature.column) - mean) / deviation
        known = np.isfinite(values)
        return np.concatenate([np.where(known, values, 0.0), known], axis=1).astype(np.float32)

    def grown(self, table: pa.Table) -> "TableEncoder":
        """The encoder that also knows what is frequent among these rows; all that it knew stays as it was."""
        vocabularies = {
            feature.name: self.vocabularies[feature.name].grown(_frequent_values(feature, table))
            for feature in self.features
            if feature.kind in TABLES
        }
        return replace(self, vocabularies=vocabularies)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers; `from_json` reads them back."""
        return {
            "features": [asdict(feature) for feature in self.features],
            "vocabularies": {name: list(v.ids) for name, v in self.vocabularies.items()},
            "scales": {name: list(scale) for name, scale in self.scales.items()},
            "rarities": {name: rarity.to_json() for name, rarity in self.rarities.items()},
            "vector_scales": {name: asdict(scale) for name, scale in self.vector_scales.items()},
            "num_dated": self.num_dated,
        }

    @staticmethod
    def from_json(read: Mapping[str, Any], key: str) -> "TableEncoder":
        """The encoder that `to_json` wrote; ConfigError or SchemaError where it is not whole."""
        features = tuple(
            settings_from_plain(Feature, feature, f"{key}[{place}]")
            for place, feature in enumerate(read["features"])
        )
        for fitted, kinds in _FITTED.items():
            expected = sorted(feature.name for feature in features if feature.kind in kinds)
            if sorted(read[fitted]) != expected:
                raise SchemaError(f"{key}: {fitted} are of {sorted(read[fitted])}; expected {expected}")
        buckets = {feature.name: feature.buckets for feature in features}
        return TableEncoder(
            features,
            {name: Vocabulary(ids) for name, ids in read["vocabularies"].items()},
            {name: (float(mean), float(deviation)) for name, (mean, deviation) in read["scales"].items()},
            {
                name: Rarity.from_json(rarity, buckets[name], f"{key}: rarities of {name}")
                for name, rarity in read["rarities"].items()
            },
            {
                name: VectorScale.from_json(scale, f"{key}: vector_scales of {name}")
                for name, scale in read["vector_scales"].items()
            },
            {name: int(num) for name, num in read["num_dated"].items()},
        )


def fit_table(features: tuple[Feature, ...], table: pa.Table) -> TableEncoder:
    """Encoders fitted on the rows of a table, which are those that training may see."""
    encoder = TableEncoder(features, {}, {}, {}, {}, {})
    for feature in features:
        if feature.kind is FeatureKind.NUMERIC:
            encoder.scales[feature.name] = _scale(numbers(table, feature.column))
        elif feature.kind is FeatureKind.VECTOR:
            encoder.vector_scales[feature.name] = VectorScale.fitted(table, feature.column)
        elif feature.kind is FeatureKind.MOMENT:
            encoder.num_dated[feature.name] = int(np.isfinite(days(table, feature.column)).sum())
        else:
            encoder.vocabularies[feature.name] = Vocabulary(_frequent_values(feature, table))
        if feature.kind is FeatureKind.TEXT:
            encoder.rarities[feature.name] = _rarity(feature, table)
        elif feature.buckets:
            _log_hashed(feature, encoder.vocabularies[feature.name], _values(feature, table)[1])
    return encoder


def _looked_up(feature: Feature, vocabulary: Vocabulary, values: pa.Array) -> np.ndarray:
    own = vocabulary.rows_of(values)
    row = np.where(own == OOV, 0, 1 + feature.buckets + own)
    if feature.buckets and (own == OOV).any():
        hashed = (own == OOV) & values.is_valid().to_numpy(zero_copy_only=False)
        row[hashed] = 1 + hash_buckets(values.filter(pa.array(hashed)), feature.buckets)
    return row


def _packed(
    parent: Int64[np.ndarray, " V"],
    row: Int64[np.ndarray, " V"],
    weight: Float64[np.ndarray, " V"],
    num_rows: int,
    *,
    norm: int,
) -> Bags:
    """Bags of those that have a row, the weights of each scaled to norm 1."""
    kept = row > 0
    parent, weight = parent[kept], weight[kept]
    total = np.bincount(parent, weight**norm, minlength=num_rows) ** (1 / norm)
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(parent, minlength=num_rows))])
    return Bags(offset, row[kept], (weight / total[parent]).astype(np.float32))


def _values(feature: Feature, table: pa.Table) -> tuple[np.ndarray, pa.Array]:
    """The values of a feature, flat and never null, and the table row of each."""
    if feature.kind in LISTS:
        return listed_texts(table, feature.column, feature.first)
    values = texts(table, feature.column)
    return np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)), values.drop_null()


def _frequent_values(feature: Feature, table: pa.Table) -> list[str]:
    """The values that at least min_count rows have, sorted, so that the order of rows does not matter."""
    if feature.rule is RowRule.HASHING:
        return []
    parent, values = _values(feature, table)
    coded = values.dictionary_encode()
    num_values = len(coded.dictionary)
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if feature.kind in LISTS:
        pair = np.sort(parent * num_values + code)
        code = pair[np.diff(pair, prepend=-1) > 0] % max(num_values, 1)  # each value once per row
    frequent = np.bincount(code, minlength=num_values) >= feature.min_count
    return sorted(coded.dictionary.filter(pa.array(frequent)).to_pylist())


def _scale(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    deviation = float(known.std()) if len(known) > 1 else 0.0
    return (float(known.mean()) if len(known) else 0.0), deviation or 1.0


def _rarity(feature: Feature, table: pa.Table) -> Rarity:
    column = texts(table, feature.column)
    _, bucket = ngram_buckets(column, feature.buckets, feature.first)
    rarity = Rarity.fitted(len(column) - column.null_count, bucket, feature.buckets)
    log.info(
        "hashed text feature=%s num_texts=%d num_buckets=%d num_used=%d",
        feature.name,
        rarity.num_texts,
        feature.buckets,
        np.count_nonzero(rarity.count),
    )
    return rarity


def _log_hashed(feature: Feature, vocabulary: Vocabulary, values: pa.Array) -> None:
    distinct = values.unique()
    hashed = distinct.filter(pa.array(vocabulary.rows_of(distinct) == OOV))
    log.info(
        "hashed feature=%s num_own=%d num_hashed=%d num_buckets=%d collision_rate=%.3f",
        feature.name,
        len(vocabulary),
        len(hashed),
        feature.buckets,
        collision_rate(hashed, feature.buckets),
    )
