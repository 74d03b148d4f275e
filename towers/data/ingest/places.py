"""Countries as a log spells them → ISO 3166-1 codes and ISO 3166-2 regions."""

import polars as pl

from towers.data.ingest.check import Ledger
from towers.data.ingest.report import Outcome, Rule
from towers.data.ingest.rules import Policy
from towers.data.raw import RawTable
from towers.data.signals.geo import as_codes, country_code, subdivision_code


def with_places(table: str, raw: RawTable, batch: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """The batch with its countries as ISO 3166-1 codes (`as_codes`), and the regions that they name as well.

    A country that is none is dealt with as the policy says.
    """
    if "country" not in batch.columns or batch["country"].null_count() == batch.height:
        return batch
    said = batch["country"]
    country = as_codes(said)
    if country.null_count() == said.null_count():  # as in most logs: all say it by its code
        return batch.with_columns(country)
    spelled = said.drop_nulls().unique()
    code = spelled.to_frame().select(
        code=country_code(pl.col("country")), region=subdivision_code(pl.col("country"))
    )
    country = said.replace_strict(spelled, as_codes(code["code"]), default=None)
    if code["region"].null_count() < code.height:
        region = said.replace_strict(spelled, code["region"], default=None, return_dtype=pl.String)
        own = pl.col("region") if "region" in batch.columns else pl.lit(None, pl.String)
        batch = batch.with_columns(pl.coalesce(own, region).alias("region"))
    placed = batch.with_columns(country.alias("country"))
    return _known(table, "country", raw, batch, placed, country.is_null() & said.is_not_null(), ledger)


def with_territories(raw: RawTable, batch: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Titles with the countries of their licences as ISO 3166-1 codes.

    A licence for a country that is none is dealt with as the policy says; where it is repaired, it is left
    out, as one without a country holds everywhere: a blank is no country either.
    """
    if "licences" not in batch.columns or batch["licences"].null_count() == batch.height:
        return batch
    said = batch["licences"].explode().struct.field("country").drop_nulls()
    if as_codes(said).null_count() == 0:
        return batch
    spelled = said.unique().alias("country")
    code = as_codes(spelled.to_frame().select(country_code(pl.col("country"))).to_series())
    nowhere = spelled.filter(code.is_null()).implode()
    territory = pl.element().struct.field("country")
    read = territory.replace_strict(spelled, code.cast(pl.String), default=None, return_dtype=pl.String)
    entry = pl.when(pl.element().is_not_null()).then(pl.element().struct.with_fields(country=read))
    licences = pl.col("licences")
    placed = batch.with_columns(licences.list.eval(entry.filter(~territory.is_in(nowhere).fill_null(False))))
    at_fault = licences.list.eval(territory.is_in(nowhere).fill_null(False)).list.any().fill_null(False)
    return _known("items", "licences", raw, batch, placed, batch.select(at_fault).to_series(), ledger)


def _known(
    table: str,
    column: str,
    raw: RawTable,
    batch: pl.DataFrame,
    placed: pl.DataFrame,
    unknown: pl.Series,
    ledger: Ledger,
) -> pl.DataFrame:
    """What has been placed, without the rows, or the file, that the policy does not take."""
    if not unknown.any():
        return placed
    rows = batch.filter(unknown)
    match ledger.rules.unknown_country:
        case Policy.REPAIR:
            ledger.count(table, Rule.UNKNOWN_COUNTRY, column, Outcome.REPAIRED, rows.height)
            return placed
        case Policy.REJECT_FILE:
            ledger.refuse(table, Rule.UNKNOWN_COUNTRY, column, raw, rows)
    ledger.reject(table, Rule.UNKNOWN_COUNTRY, column, raw, rows)
    return placed.filter(~unknown)
