"""What ingest.py can be told, and every source of logs.

Apart from the other settings, so that ingest starts without the training stack.
"""

from dataclasses import dataclass, field

from conf.structured import register
from towers.data.ingest.rules import RuleSettings
from towers.data.privacy.settings import PrivacySettings
from towers.data.signals.settings import SignalSettings
from towers.data.sources.catalogues import CatalogueSettings
from towers.data.sources.kion import KionSettings
from towers.data.sources.kuairand import KuaiRandSettings
from towers.data.sources.kuairec import KuaiRecSettings
from towers.data.sources.movielens import MovieLensSettings
from towers.data.sources.movietweetings import MovieTweetingsSettings
from towers.data.sources.read import SourceSettings
from towers.data.sources.sequences import SequenceSettings
from towers.data.sources.simulated import SimulatedSettings
from towers.data.sources.tables import TablesSettings


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """What ingest.py reads, and what it does with it.

    privacy: what of people is kept. signals: what the training store is made under; train.py makes another
    where it is told others.
    card: whether a data card is written beside the tables.
    artifacts: its folder `tables` is replaced as a whole.
    """

    data: SourceSettings
    rules: RuleSettings = field(default_factory=RuleSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    signals: SignalSettings = field(default_factory=SignalSettings)
    card: bool = True
    artifacts: str = "artifacts"


register("ingest_settings", IngestSettings)
# The names that the options of the data group extend.
register("simulated_settings", SimulatedSettings, group="data")
register("movielens_settings", MovieLensSettings, group="data")
register("movietweetings_settings", MovieTweetingsSettings, group="data")
register("kion_settings", KionSettings, group="data")
register("kuairand_settings", KuaiRandSettings, group="data")
register("kuairec_settings", KuaiRecSettings, group="data")
register("sequences_settings", SequenceSettings, group="data")
register("catalogues_settings", CatalogueSettings, group="data")
register("tables_settings", TablesSettings, group="data")
