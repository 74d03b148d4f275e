"""What every job that trains towers from logs can be told."""

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from towers.data.batches import LoaderSettings
from towers.data.features import FeatureSettings
from towers.data.ingest.rules import RuleSettings
from towers.data.privacy.settings import PrivacySettings
from towers.data.signals.settings import SignalSettings
from towers.data.sources.read import SourceSettings
from towers.nets.two_tower import ModelSettings
from towers.objectives.settings import ObjectiveSettings
from towers.settings import Partly, bounded
from towers.training.recipe import GivenSettings, Preset, Settled, Statistics, recipe, trains_on_gpu
from towers.training.settings import TrainerSettings

_PLACES = ("artifacts", "remote", "store_key")
"""What says of a service where its files and keys lie, and nothing of how a model came about."""


@dataclass(frozen=True, slots=True)
class FromLogsSettings:
    """What every job that trains towers from logs can be told.

    reuse_tables: learn from the tables that ingest.py wrote, without reading the source again; what `rules`
    and `privacy` say of a source is then what ingest.py was told.
    recipe: what decides every value of model, objective, loader and trainer that is not given.
    artifacts: the folder that holds tables, model, checkpoints and releases of this service.
    """

    data: SourceSettings
    reuse_tables: bool = False
    rules: RuleSettings = field(default_factory=RuleSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    signals: SignalSettings = field(default_factory=SignalSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    recipe: Preset = Preset.FAST
    model: Partly[ModelSettings] = field(default_factory=partial(Partly, ModelSettings))
    objective: Partly[ObjectiveSettings] = field(default_factory=partial(Partly, ObjectiveSettings))
    loader: Partly[LoaderSettings] = field(default_factory=partial(Partly, LoaderSettings))
    trainer: Partly[TrainerSettings] = field(default_factory=partial(Partly, TrainerSettings))
    seed: int = bounded(0, ge=0, lt=2**32)
    artifacts: str = "artifacts"

    def by_recipe(self, statistics: Statistics, warm_start: str | None = None) -> Settled:
        """What decides what the towers learn: what is given, and of the rest what the recipe chooses."""
        given = GivenSettings(
            model=self.model,
            objective=self.objective,
            loader=self.loader,
            trainer=self.trainer,
            seed=self.seed,
            features=self.features,
            warm_start=warm_start,
        )
        gpu = trains_on_gpu(self.trainer.values.get("accelerator"))
        return recipe(statistics, self.recipe, given, gpu=gpu)

    def plain(self, settled: Settled) -> dict[str, Any]:
        """All settings but of where things lie; of the towers those they are fitted under, and how chosen."""
        kept = {name: value for name, value in asdict(self).items() if name not in _PLACES}
        return {**kept, **asdict(settled.fit), "recipe": settled.to_json()}
