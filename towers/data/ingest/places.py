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
    unknown = country.is_null() & said.is_not_null()
    placed = batch.with_columns(country.alias("country"))
    if not unknown.any():
        return placed
    rows = batch.filter(unknown)
    match ledger.rules.unknown_country:
        case Policy.REPAIR:
            ledger.count(table, Rule.UNKNOWN_COUNTRY, "country", Outcome.REPAIRED, rows.height)
            return placed
        case Policy.REJECT_FILE:
            ledger.refuse(table, Rule.UNKNOWN_COUNTRY, "country", raw, rows)
    ledger.reject(table, Rule.UNKNOWN_COUNTRY, "country", raw, rows)
    return placed.filter(~unknown)
