"""What the towers may know of titles and profiles: one declaration for encoder, model, export and serving."""

from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa

from towers.data.schema import ITEMS, PROFILES
from towers.errors import ConfigError
from towers.settings import bounded, check_ranges

ID_COLUMN = "item_id"
ATTRIBUTE = "attributes."
"""Before the name of an attribute, in place of a column."""

SENSITIVE_COLUMNS = ("gender", "age_band", "income", "kids", "postal_code")
"""Columns of profiles that are used where they are declared by name, and never by default."""
_IDENTIFYING = ("profile_id", "household_id")


class FeatureKind(StrEnum):
    """What a column holds, and so how it enters a tower."""

    CATEGORICAL = "categorical"
    """One value, text, whole number or yes and no: an embedding row, row 0 where it is null or has none."""
    MULTI = "multi"
    """A list of values: the mean of their embeddings; values without a row are left out."""
    ORDERED = "ordered"
    """A list whose first values count most, as of a cast in billing order: the value at place p, from 0, has
    the weight 1 / (1 + p) in the mean."""
    TEXT = "text"
    """A text in any language: its words and n-grams of characters, each in one of `buckets` by its hash, the
    rarer the weightier."""
    NUMERIC = "numeric"
    """A number: standardised, and a flag that says whether it is known."""
    VECTOR = "vector"
    """A vector of fixed length that another model made and nothing changes: each entry standardised, and a
    flag that says whether it is known."""
    MOMENT = "moment"
    """When something befell a title, such as its release: what counts is how long before the question that
    was. One at most, of titles."""


LISTS = (FeatureKind.MULTI, FeatureKind.ORDERED)
"""Kinds of columns of lists of values."""
BAGS = (*LISTS, FeatureKind.TEXT)
"""Kinds that give a title several embedding rows."""
TABLES = (FeatureKind.CATEGORICAL, *BAGS)
"""Kinds that have an embedding table; the others are standardised."""
_OF_PROFILES = (FeatureKind.CATEGORICAL, FeatureKind.NUMERIC)


class RowRule(StrEnum):
    """Which embedding row a value gets."""

    VOCABULARY = "vocabulary"
    """Its own, where at least `min_count` training rows have it; else none."""
    HASHING = "hashing"
    """One of `buckets`, by its hash, shared with whatever else falls there; nothing is learned by heart."""
    FREQUENCY_CUT = "frequency_cut"
    """Its own, where at least `min_count` training rows have it; else one of `buckets`, by its hash."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a title or of a profile.

    name: a word, unique on its side. column: of the items or the profiles table, or `attributes.<name>`.
    rule, min_count, buckets: which row a value gets, see RowRule; of a text, what falls into a bucket where
    fewer training rows than `min_count` have anything is left out. first: only so many values of a list (cast
    is in billing order), or words of a text, count; 0 is all. dimension: width of its embeddings, carried up
    to the tower's where it is smaller; 0 is the tower's own.
    """

    name: str
    kind: FeatureKind
    column: str
    rule: RowRule = RowRule.VOCABULARY
    min_count: int = bounded(1, ge=1)
    buckets: int = bounded(0, ge=0, lt=2**31)
    first: int = bounded(0, ge=0)
    dimension: int = bounded(0, ge=0)


def _default_items() -> list[Feature]:
    one, many, number = FeatureKind.CATEGORICAL, FeatureKind.MULTI, FeatureKind.NUMERIC
    moment = FeatureKind.MOMENT
    return [
        Feature("item_id", one, ID_COLUMN),
        Feature("genres", many, "genres"),
        Feature("sub_genres", many, "sub_genres"),
        # A value that marks a single title says no more than the title's own id.
        Feature("cast", many, "cast", min_count=2, first=5),
        Feature("directors", many, "directors", min_count=2),
        Feature("countries", many, "countries", min_count=2),
        Feature("language", one, "language", min_count=2),
        Feature("maturity", one, "maturity", min_count=2),
        Feature("release_year", one, "release_year", min_count=5),
        Feature("release_year_number", number, "release_year"),
        Feature("released", moment, "released"),
        Feature("rating", number, "rating"),
        Feature("duration_minutes", number, "duration_minutes"),
    ]


def _default_profiles() -> list[Feature]:
    return [Feature("country", FeatureKind.CATEGORICAL, "country")]


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """The features of titles and of profiles, in the order in which they are added up.

    Raises ConfigError, naming the key, where one cannot be: a column that is not there or holds another kind
    of value, a rule without what it needs, a name given twice, and the id of a profile or household, which is
    never learned from.
    """

    items: list[Feature] = field(default_factory=_default_items)
    profiles: list[Feature] = field(default_factory=_default_profiles)

    def __post_init__(self) -> None:
        if not self.items:
            raise ConfigError("features.items: empty; expected one feature of titles at least")
        check_features(self.items, ITEMS, "features.items")
        moments = [feature.name for feature in self.items if feature.kind is FeatureKind.MOMENT]
        if len(moments) > 1:
            raise ConfigError(f"features.items: {moments} are moments; expected one at most")
        check_features(self.profiles, PROFILES, "features.profiles")
        for place, feature in enumerate(self.profiles):
            if feature.kind not in _OF_PROFILES:
                raise ConfigError(
                    f"features.profiles[{place}].kind: {feature.kind}; expected {' or '.join(_OF_PROFILES)}"
                )


def check_features(features: list[Feature], schema: pa.Schema, key: str) -> None:
    """Raises ConfigError naming the first feature that a table of this schema cannot give."""
    names: set[str] = set()
    for place, feature in enumerate(features):
        where = f"{key}[{place}]"
        check_ranges(feature, where)
        if not feature.name.isidentifier() or feature.name in names:
            raise ConfigError(f"{where}.name: {feature.name!r}; expected a word, given to no other feature")
        names.add(feature.name)
        _check_column(feature, schema, where)
        _check_rule(feature, where)


def _check_column(feature: Feature, schema: pa.Schema, where: str) -> None:
    if feature.column in _IDENTIFYING:
        raise ConfigError(
            f"{where}.column: {feature.column}; expected another: the towers learn from what a profile "
            "watched, never from who it is"
        )
    if feature.column.startswith(ATTRIBUTE) and len(feature.column) > len(ATTRIBUTE):
        held: pa.DataType = pa.string()
    elif feature.column in schema.names:
        held = schema.field(feature.column).type
    else:
        raise ConfigError(
            f"{where}.column: {feature.column!r}; expected one of {', '.join(schema.names)}, "
            f"or {ATTRIBUTE}<name>"
        )
    if not _gives(feature.kind, held):
        raise ConfigError(f"{where}.kind: {feature.kind} of {feature.column}, which holds {held}")


def _gives(kind: FeatureKind, held: pa.DataType) -> bool:
    """Whether a column of this type can be a feature of this kind."""
    text = pa.types.is_string(held)
    whole = pa.types.is_integer(held) or pa.types.is_boolean(held)
    match kind:
        case FeatureKind.CATEGORICAL:
            return bool(text or whole)
        case FeatureKind.MULTI | FeatureKind.ORDERED:
            return bool(pa.types.is_list(held) and pa.types.is_string(held.value_type))
        case FeatureKind.TEXT:
            return bool(text)
        case FeatureKind.VECTOR:
            return bool(pa.types.is_list(held) and pa.types.is_floating(held.value_type))
        case FeatureKind.NUMERIC:
            return bool(text or whole or pa.types.is_floating(held))
        case FeatureKind.MOMENT:
            return bool(pa.types.is_timestamp(held))


def _check_rule(feature: Feature, where: str) -> None:
    kind, rule = feature.kind, feature.rule
    if kind not in TABLES and (rule, feature.min_count, feature.dimension) != (RowRule.VOCABULARY, 1, 0):
        what = "number" if kind is FeatureKind.NUMERIC else kind.value
        raise ConfigError(f"{where}: a {what} has no rows; expected neither rule, min_count nor dimension")
    if feature.first and kind not in BAGS:
        raise ConfigError(
            f"{where}.first: {feature.first}; expected 0, only lists and texts have a first value or word"
        )
    if kind is FeatureKind.TEXT and rule is not RowRule.HASHING:
        raise ConfigError(f"{where}.rule: {rule} of a text; expected hashing, n-grams have no other row")
    if (feature.buckets > 0) != (rule is not RowRule.VOCABULARY):
        expected = "0" if rule is RowRule.VOCABULARY else "1 or more"
        raise ConfigError(f"{where}.buckets: {feature.buckets} by {rule}; expected {expected}")
    if rule is RowRule.HASHING and feature.min_count > 1 and kind is not FeatureKind.TEXT:
        raise ConfigError(f"{where}.min_count: {feature.min_count} by hashing; expected 1, none is counted")
