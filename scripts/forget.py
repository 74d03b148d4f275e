"""A profile out of serving at once, then out of whatever else holds it; with a receipt."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.forget import ForgetSettings
from retrieval.forget.forget import forget
from retrieval.forget.terminal import receipt_table
from towers.data.privacy.pseudonyms import read_pseudonyms
from towers.data.privacy.sealed import read_store_keys
from towers.data.privacy.tables import erase_from_tables


def forget_profiles(settings: ForgetSettings) -> None:
    """Forgets whom it is told, goes on with what is due, and prints what was done and what is left."""
    receipt, path = forget(
        Path(settings.artifacts),
        settings.ids(),
        settings.erasure,
        lambda tables, forgotten: erase_from_tables(tables, forgotten).num_rows,
        pseudonyms=None if settings.key is None else read_pseudonyms(settings.key, "key"),
        store_keys=read_store_keys(settings.store_key),
    )
    Console().print(receipt_table(receipt))
    Console().print(f"receipt: {path}")


if __name__ == "__main__":
    run(forget_profiles, ForgetSettings, "forget")
