"""Any source → its raw tables, by the type of its settings."""

from pathlib import Path
from typing import assert_never

from towers.data.ingest.ingest import ingest
from towers.data.ingest.report import IngestReport
from towers.data.ingest.rules import RuleSettings
from towers.data.privacy.forgotten import forgotten_beside, read_forgotten
from towers.data.privacy.guard import guard_of
from towers.data.privacy.settings import PrivacySettings
from towers.data.raw import RawSource, raw_from_tables
from towers.data.signals.settings import SignalSettings
from towers.data.sources.catalogues import CatalogueSettings, read_catalogues
from towers.data.sources.kion import KionSettings, read_kion
from towers.data.sources.kuairand import KuaiRandSettings, read_kuairand
from towers.data.sources.kuairec import KuaiRecSettings, read_kuairec
from towers.data.sources.movielens import MovieLensSettings, read_movielens
from towers.data.sources.movietweetings import MovieTweetingsSettings, read_movietweetings
from towers.data.sources.sequences import SequenceSettings, read_sequences
from towers.data.sources.simulated import SimulatedSettings, read_simulated
from towers.data.sources.tables import TablesSettings, read_tables_source

SourceSettings = (
    SimulatedSettings
    | MovieLensSettings
    | MovieTweetingsSettings
    | KionSettings
    | KuaiRandSettings
    | KuaiRecSettings
    | SequenceSettings
    | CatalogueSettings
    | TablesSettings
)
"""One dataclass per source."""


def ingest_source(
    settings: SourceSettings,
    folder: Path,
    rules: RuleSettings,
    signals: SignalSettings,
    privacy: PrivacySettings | None,
    forgotten: Path | None = None,
    order_of: Path | None = None,
) -> IngestReport:
    """Replaces a folder of tables by what a source says.

    privacy: what may be kept of people; all of it where None. forgotten: the list of the profiles that are in
    no table; None is that of the artifacts in which the folder lies. order_of: as in `ingest`. Raises what
    `read_source`, `ingest`, `guard_of` and `read_forgotten` raise.
    """
    gone = read_forgotten(forgotten or forgotten_beside(folder))
    guard = guard_of(privacy or PrivacySettings(), gone)
    return ingest(
        read_source(settings), settings.title, folder, rules, signals.query_window_minutes, guard, order_of
    )


def read_source(settings: SourceSettings) -> RawSource:
    """The raw tables of a source; raises what its reader raises on a folder, a file or a column not there."""
    match settings:
        case SimulatedSettings():
            return raw_from_tables(read_simulated(settings))
        case MovieLensSettings():
            return read_movielens(settings)
        case MovieTweetingsSettings():
            return read_movietweetings(settings)
        case KionSettings():
            return read_kion(settings)
        case KuaiRandSettings():
            return read_kuairand(settings)
        case KuaiRecSettings():
            return read_kuairec(settings)
        case SequenceSettings():
            return read_sequences(settings)
        case CatalogueSettings():
            return read_catalogues(settings)
        case TablesSettings():
            return read_tables_source(settings)
        case _:
            assert_never(settings)
