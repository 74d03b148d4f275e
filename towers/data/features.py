"""Item metadata and countries → numbers, by one declaration that training, export and serving share.

Everything that is learned from data here (which values have a row, means, deviations) is fitted on items and
profiles that training may see; whatever only later data has is out of vocabulary.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from towers.data.vocabulary import Vocabulary
from towers.errors import SchemaError


class FeatureKind(StrEnum):
    """What a column holds, and so how it enters a tower."""

    CATEGORICAL = "categorical"
    """One value: an embedding row, 0 where it is null or out of vocabulary."""
    MULTI = "multi"
    """A list of values: the mean of their embeddings; values out of vocabulary are left out."""
    NUMERIC = "numeric"
    """A number: standardised, and a flag that says whether it is known."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of an item.

    min_count: a value seen in fewer training items has no row of its own.
    first: only so many values of a list count (cast is in billing order).
    """

    name: str
    kind: FeatureKind
    column: str
    min_count: int = 1
    first: int | None = None


ID_FEATURE = "item_id"

ITEM_FEATURES = (
    Feature(ID_FEATURE, FeatureKind.CATEGORICAL, "item_id"),
    Feature("genres", FeatureKind.MULTI, "genres"),
    Feature("sub_genres", FeatureKind.MULTI, "sub_genres"),
    # A value that marks a single title says no more than the title's own id.
    Feature("cast", FeatureKind.MULTI, "cast", min_count=2, first=5),
    Feature("directors", FeatureKind.MULTI, "directors", min_count=2),
    Feature("countries", FeatureKind.MULTI, "countries", min_count=2),
    Feature("language", FeatureKind.CATEGORICAL, "language", min_count=2),
    Feature("maturity", FeatureKind.CATEGORICAL, "maturity", min_count=2),
    Feature("release_year", FeatureKind.CATEGORICAL, "release_year", min_count=5),
    Feature("release_year_number", FeatureKind.NUMERIC, "release_year"),
    Feature("rating", FeatureKind.NUMERIC, "rating"),
    Feature("duration_minutes", FeatureKind.NUMERIC, "duration_minutes"),
)


@dataclass(frozen=True, slots=True)
class Bags:
    """Rows of a multi-valued feature, packed: item i has row[offset[i]:offset[i + 1]]."""

    offset: Int64[np.ndarray, " N1"]
    row: Int64[np.ndarray, " V"]


@dataclass(frozen=True, slots=True)
class EncodedItems:
    """N items in numbers.

    categorical: int64 (N,) per feature, embedding rows, 0 out of vocabulary.
    multi: Bags of N items per feature, embedding rows, never 0.
    numeric: float32 (N, 2F), the F standardised values (0 where unknown), then F flags, 1 where known.
    """

    categorical: dict[str, Int64[np.ndarray, " N"]]
    multi: dict[str, Bags]
    numeric: Float32[np.ndarray, "N F2"]

    def __len__(self) -> int:
        return len(self.numeric)


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """Fitted encoders: a vocabulary per categorical or multi-valued feature, a scale per numeric one.

    scales: mean and standard deviation over the training items that have a value.
    country: vocabulary of the countries of training profiles.
    """

    vocabularies: dict[str, Vocabulary]
    scales: dict[str, tuple[float, float]]
    country: Vocabulary

    def encode(self, items: pa.Table) -> EncodedItems:
        """Numbers for the items of a table with the items schema; needs no id to be known."""
        categorical, multi, numeric = {}, {}, []
        for feature in ITEM_FEATURES:
            match feature.kind:
                case FeatureKind.CATEGORICAL:
                    texts = (value or "" for value in _texts(items, feature))
                    categorical[feature.name] = self.vocabularies[feature.name].embedding_rows(texts)
                case FeatureKind.MULTI:
                    multi[feature.name] = _bags(items, feature, self.vocabularies[feature.name])
                case FeatureKind.NUMERIC:
                    numeric.append(_standardised(items, feature, self.scales[feature.name]))
        values = np.stack(numeric, axis=1)
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        return EncodedItems(categorical, multi, np.concatenate([filled, known], axis=1).astype(np.float32))

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers; `from_json` reads them back."""
        return {
            "vocabularies": {name: list(v.ids) for name, v in self.vocabularies.items()},
            "scales": {name: list(scale) for name, scale in self.scales.items()},
            "country": list(self.country.ids),
        }

    @staticmethod
    def from_json(read: dict[str, Any]) -> "FeatureEncoder":
        """The encoder that `to_json` wrote; SchemaError where a declared feature is missing."""
        wanted = {f.name for f in ITEM_FEATURES if f.kind is not FeatureKind.NUMERIC}
        numeric = {f.name for f in ITEM_FEATURES if f.kind is FeatureKind.NUMERIC}
        if set(read["vocabularies"]) != wanted or set(read["scales"]) != numeric:
            raise SchemaError(
                f"feature encoder: has {sorted(read['vocabularies']) + sorted(read['scales'])}; "
                f"expected {sorted(wanted) + sorted(numeric)}"
            )
        return FeatureEncoder(
            {name: Vocabulary(ids) for name, ids in read["vocabularies"].items()},
            {name: (float(mean), float(deviation)) for name, (mean, deviation) in read["scales"].items()},
            Vocabulary(read["country"]),
        )


def fit_features(items: pa.Table, seen: Bool[np.ndarray, " N"], country: np.ndarray) -> FeatureEncoder:
    """Encoders fitted on the items with a training event and on the countries of training profiles.

    seen: bool (N,), items of the table with a training event. country: str (P,), "" where unknown.
    """
    train = items.filter(pa.array(seen))
    vocabularies, scales = {}, {}
    for feature in ITEM_FEATURES:
        match feature.kind:
            case FeatureKind.CATEGORICAL:
                vocabularies[feature.name] = _frequent(_texts(train, feature), feature.min_count)
            case FeatureKind.MULTI:
                lists = (set(values) for values in _lists(train, feature))
                vocabularies[feature.name] = _frequent(
                    (v for values in lists for v in values), feature.min_count
                )
            case FeatureKind.NUMERIC:
                values = _numbers(train, feature)
                values = values[np.isfinite(values)]
                deviation = float(values.std()) if len(values) > 1 else 0.0
                scales[feature.name] = (float(values.mean()) if len(values) else 0.0, deviation or 1.0)
    return FeatureEncoder(vocabularies, scales, _frequent(country, 1))


def _frequent(values: Any, min_count: int) -> Vocabulary:
    counts = Counter(str(value) for value in values if value)
    return Vocabulary.sorted_unique(value for value, count in counts.items() if count >= min_count)


def _texts(items: pa.Table, feature: Feature) -> list[str | None]:
    texts: list[str | None] = items[feature.column].cast(pa.string()).to_pylist()
    return texts


def _lists(items: pa.Table, feature: Feature) -> list[list[str]]:
    return [(values or [])[: feature.first] for values in items[feature.column].to_pylist()]


def _numbers(items: pa.Table, feature: Feature) -> np.ndarray:
    numbers: np.ndarray = items[feature.column].cast(pa.float64()).to_numpy()
    return numbers


def _standardised(items: pa.Table, feature: Feature, scale: tuple[float, float]) -> np.ndarray:
    return (_numbers(items, feature) - scale[0]) / scale[1]


def _bags(items: pa.Table, feature: Feature, vocabulary: Vocabulary) -> Bags:
    lists = _lists(items, feature)
    lengths = np.fromiter((len(values) for values in lists), dtype=np.int64, count=len(lists))
    rows = vocabulary.embedding_rows(value for values in lists for value in values)
    item = np.repeat(np.arange(len(lists)), lengths)
    known = rows > 0
    counts = np.bincount(item[known], minlength=len(lists))
    return Bags(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), rows[known])
