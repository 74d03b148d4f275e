"""Texts that name a country → ISO 3166-1 codes and coarse regions; nothing finer than ISO 3166-2 is kept.

countries.csv: code, alpha-3 and English names by ISO 3166-1, and the sub-region of the United Nations'
standard M49 (its intermediate region where it has one: Caribbean, not Latin America). M49 gives Antarctica
no region; of Taiwan, which it does not list, the region is that of its neighbours.
"""

import logging
from dataclasses import dataclass
from functools import cache

import polars as pl

from towers.data.signals.countries import COUNTRIES

log = logging.getLogger(__name__)

_SUBDIVISION = r"^([a-z]{2})[-_]([a-z0-9]{1,3})$"  # ISO 3166-2: alpha-2, then one to three letters or digits


@dataclass(frozen=True, slots=True)
class Places:
    """What texts say of where: country and region are of the same length as the texts.

    country: ISO 3166-1 alpha-2. region: ISO 3166-2, where the text had one. Both null where unknown.
    num_unknown: texts that say something, but no country that is known.
    """

    country: pl.Series
    region: pl.Series
    num_unknown: int


def places(texts: pl.Series) -> Places:
    """Country and region of each text; unknown ones are null, counted and logged."""
    read = pl.select(
        country=country_code(pl.lit(texts)), region=subdivision_code(pl.lit(texts)), said=_says(pl.lit(texts))
    )
    num_unknown = int((read["said"] & read["country"].is_null()).sum())
    if num_unknown:
        log.warning("texts that name no known country left null num_texts=%d", num_unknown)
    return Places(read["country"], read["region"], num_unknown)


def country_code(text: pl.Expr) -> pl.Expr:
    """ISO 3166-1 alpha-2 of alpha-2, alpha-3, an English name or ISO 3166-2; null where it is none of them.

    Case, accents, dots, a leading "the", and blanks more than needed do not count: "U.S.A.", "usa",
    "The United States", "US-CA" are all US. A country that is no more has no code.
    """
    key = _key(text)
    code_of = _codes()
    whole = key.replace_strict(list(code_of), list(code_of.values()), default=None, return_dtype=pl.String)
    return pl.coalesce(whole, _country_of_subdivision(key))


def subdivision_code(text: pl.Expr) -> pl.Expr:
    """ISO 3166-2, as in "US-CA", where the text is one of a known country; null where it is not."""
    key = _key(text)
    return _country_of_subdivision(key) + "-" + key.str.extract(_SUBDIVISION, 2).str.to_uppercase()


def region_of(country: pl.Expr) -> pl.Expr:
    """The M49 region of an ISO 3166-1 alpha-2 code, such as "Northern Europe"; null where there is none."""
    table = _countries().drop_nulls("sub_region")
    return country.replace_strict(table["code"], table["sub_region"], default=None, return_dtype=pl.String)


def as_codes(texts: pl.Series) -> pl.Series:
    """ISO 3166-1 alpha-2 codes as a Polars Enum, a byte each; null where a text is none as it stands."""
    return texts.cast(pl.Enum(_countries()["code"]), strict=False)


@cache
def _countries() -> pl.DataFrame:
    return pl.read_csv(COUNTRIES, schema=dict.fromkeys(("code", "alpha_3", "sub_region", "names"), pl.String))


@cache
def _codes() -> dict[str, str]:
    """alpha-2 by every key that names a country."""
    table = _countries()
    named = pl.concat(
        [
            table.select("code", text="code"),
            table.select("code", text="alpha_3"),
            table.select("code", text=pl.col("names").str.split(";")).explode("text"),
        ]
    )
    keyed = named.select("code", key=_key(pl.col("text")))
    return dict(zip(keyed["key"], keyed["code"], strict=True))


def _key(text: pl.Expr) -> pl.Expr:
    """A name without what spellings differ in."""
    return (
        text.cast(pl.String)
        .str.normalize("NFKD")
        .str.replace_all(r"\p{M}|[.'’]", "")
        .str.to_lowercase()
        .str.replace_all("&", " and ", literal=True)
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
        .str.replace(r"^the ", "")
        .str.replace(r"^st ", "saint ")
    )


def _country_of_subdivision(key: pl.Expr) -> pl.Expr:
    codes = _countries()["code"].to_list()
    first = key.str.extract(_SUBDIVISION, 1).str.to_uppercase()
    return pl.when(first.is_in(codes)).then(first)


def _says(text: pl.Expr) -> pl.Expr:
    return (_key(text) != "").fill_null(False)
