"""Texts that name a country → ISO 3166-1 codes and coarse regions; nothing finer than ISO 3166-2 is kept.

countries.csv: code, alpha-3 and English names by ISO 3166-1, and the sub-region of the United Nations'
standard M49 (its intermediate region where it has one: Caribbean, not Latin America). M49 gives Antarctica
no region; of Taiwan, which it does not list, the region is that of its neighbours.
"""

from functools import cache

import polars as pl

from towers.data.signals.countries import COUNTRIES

_SUBDIVISION = r"^([a-z]{2})[-_]([a-z0-9]{1,3})$"  # ISO 3166-2: alpha-2, then one to three letters or digits


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
