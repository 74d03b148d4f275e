"""The fitted encoders of both sides: titles and profiles as the towers were trained to read them.

Everything that is learned from data here (which values have a row of their own, means, deviations) is fitted
on titles and profiles with a train event; what only later data has is out of vocabulary until it is grown.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from towers.data.columns import source_column
from towers.data.dataset import Dataset
from towers.data.encoded import EncodedItems, EncodedProfiles
from towers.data.encoders import TableEncoder, fit_table
from towers.data.features import BAGS, ID_COLUMN, SENSITIVE_COLUMNS, FeatureKind, FeatureSettings
from towers.data.split import Split

log = logging.getLogger(__name__)

_COUNTRY = "country"


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """Encoders of the items and of the profiles table, with the declaration that they follow."""

    items: TableEncoder
    profiles: TableEncoder

    @property
    def settings(self) -> FeatureSettings:
        """The declaration."""
        return FeatureSettings(list(self.items.features), list(self.profiles.features))

    @property
    def profile_columns(self) -> tuple[str, ...]:
        """The columns of profiles that are read, beside the country, which is that of the request."""
        columns = (feature.column for feature in self.profiles.features)
        return tuple(dict.fromkeys(column for column in columns if column != _COUNTRY))

    def encode(self, items: pa.Table) -> EncodedItems:
        """Numbers for the items of a table with the items schema; needs no id to be known."""
        fitted = self.items
        categorical = {
            one.name: fitted.categorical(one, items) for one in fitted.of_kind(FeatureKind.CATEGORICAL)
        }
        bags = {one.name: fitted.bags(one, items) for one in fitted.of_kind(*BAGS)}
        vectors = {one.name: fitted.vectors(one, items) for one in fitted.of_kind(FeatureKind.VECTOR)}
        moments = {one.name: fitted.moments(one, items) for one in fitted.of_kind(FeatureKind.MOMENT)}
        numeric = fitted.numeric(items)
        ids = {one.name for one in fitted.features if one.column == ID_COLUMN}
        known = [flag > 0 for flag in np.split(numeric, 2, axis=1)[1].T]
        known += [row > 0 for name, row in categorical.items() if name not in ids]
        known += [np.diff(bag.offset) > 0 for name, bag in bags.items() if name not in ids]
        known += [values[:, -1] > 0 for values in vectors.values()]
        known += [np.isfinite(day) for day in moments.values()]
        described = np.logical_or.reduce([np.zeros(items.num_rows, bool), *known])
        return EncodedItems(categorical, bags, numeric, vectors, moments, described)

    def encode_profiles(self, profiles: pa.Table | None, country: np.ndarray) -> EncodedProfiles:
        """Numbers for P profiles.

        profiles: a table with their `profile_columns`; None where nothing is known.
        country: str (P,), of the request, "" where unknown; it is read in place of the table's own.
        """
        nothing = pa.nulls(len(country), pa.string())
        known = {
            column: nothing if profiles is None else source_column(profiles, column)
            for column in self.profile_columns
        }
        asked = pa.table({**known, _COUNTRY: pa.array(country, pa.string())})
        rows = [
            self.profiles.categorical(feature, asked).astype(np.int32)
            for feature in self.profiles.of_kind(FeatureKind.CATEGORICAL)
        ]
        row = np.stack(rows, axis=1) if rows else np.zeros((len(country), 0), np.int32)
        return EncodedProfiles(row, self.profiles.numeric(asked))

    def grown(self, items: pa.Table, profiles: pa.Table) -> "FeatureEncoder":
        """The encoder that also knows the values of these titles and profiles, those to be learned from next.

        Every value keeps its row and every number its scale. A value gets a row where it is frequent enough
        among what is given.
        """
        return FeatureEncoder(self.items.grown(items), self.profiles.grown(profiles))

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, the declaration among them; `from_json` reads them back."""
        return {"items": self.items.to_json(), "profiles": self.profiles.to_json()}

    @staticmethod
    def from_json(read: Mapping[str, Any]) -> "FeatureEncoder":
        """The encoder that `to_json` wrote; ConfigError or SchemaError where it is not whole."""
        encoder = FeatureEncoder(
            TableEncoder.from_json(read["items"], "features.items"),
            TableEncoder.from_json(read["profiles"], "features.profiles"),
        )
        FeatureSettings(*map(list, (encoder.items.features, encoder.profiles.features)))  # checks them
        return encoder


def fit_features(items: pa.Table, profiles: pa.Table, settings: FeatureSettings) -> FeatureEncoder:
    """Encoders fitted on titles and profiles that training may see: `training_rows` gives them.

    Sensitive columns are used where they are declared, and the log names them.
    """
    sensitive = {feature.column for feature in settings.profiles} & set(SENSITIVE_COLUMNS)
    if sensitive:
        log.info("sensitive features of profiles declared columns=%s", ",".join(sorted(sensitive)))
    return FeatureEncoder(
        fit_table(tuple(settings.items), items), fit_table(tuple(settings.profiles), profiles)
    )


def training_rows(dataset: Dataset, parts: Split) -> tuple[pa.Table, pa.Table]:
    """The rows of items and of profiles that have a train event."""
    return (
        dataset.items.filter(pa.array(parts.seen)),
        dataset.profile_table.filter(pa.array(parts.num_train > 0)),
    )
