"""What the jobs from raw logs to a release can be told: train.py, build_index.py and rebuild.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from conf.from_logs import FromLogsSettings
from conf.structured import register
from retrieval.index.spec import IndexSpec
from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.due import Retrain, read_signs
from retrieval.rebuild.survey import Asked
from retrieval.release.gates import GateSettings
from retrieval.release.verify import Verify
from towers.data.privacy.sealed import read_store_keys
from towers.data.split import SplitSettings
from towers.ladder.drift_check import seconds_of
from towers.nets.backbone import check_backbone
from towers.settings import bounded
from towers.training.dp.refusals import check_private, check_query_tower
from towers.training.query_settings import QueryFitSettings
from towers.training.recipe import Settled, Statistics


class Stage(StrEnum):
    """How far a service has come; it decides where training runs and what an index may cost."""

    ZERO_TO_ONE = "zero_to_one"
    ONE_TO_SCALE = "one_to_scale"
    GLOBAL_SCALE = "global_scale"


@dataclass(frozen=True, slots=True)
class PipelineSettings(FromLogsSettings):
    """From raw logs to a release: what train.py and build_index.py, and later rebuild jobs, share.

    warm_start: an exported model to go on from; null learns from nothing.
    query_tower: how what finds texts by their meaning is trained, after the towers.
    dimension: how many of the vectors' first numbers a release searches; null: all.
    candidate: publish without making it current, for a canary.
    store_key: the keys that seal the profiles of releases, a path or env:NAME; null leaves them in clear.
    """

    stage: Stage = Stage.ZERO_TO_ONE
    split: SplitSettings = field(default_factory=SplitSettings)
    query_tower: QueryFitSettings = field(default_factory=QueryFitSettings)
    index: IndexSpec = field(default_factory=IndexSpec)
    dimension: int | None = bounded(None, ge=1)
    gates: GateSettings = field(default_factory=GateSettings)
    candidate: bool = False
    warm_start: str | None = None
    store_key: str | None = None

    def settled(self, statistics: Statistics) -> Settled:
        """What decides what the towers learn: what is given, and of the rest what the recipe chooses.

        Raises ConfigError on what a private training refuses, and as `check_backbone`: the query tower is the
        last to be trained.
        """
        settled = self.by_recipe(statistics, self.warm_start)
        if self.query_tower.epochs and self.query_tower.backbone is not None:
            check_backbone(Path(self.query_tower.backbone))
        if settled.fit.trainer.dp.on:
            check_private(settled.fit)
            check_query_tower(self.query_tower.epochs)
        return settled

    def context(self, title: str, settled: Settled) -> Mapping[str, Any]:
        """Everything but where things lie, as plain values: how an export came about.

        title: of the data that was learned from, as ingest named it. settled: what the towers learned under.
        """
        return {"title": title, **self.plain(settled)}


@dataclass(frozen=True, slots=True)
class RebuildSettings(PipelineSettings):
    """What rebuild.py can be told: all that train.py and build_index.py can, of the same service.

    plan: say what would be done, and publish nothing. upkeep: how far an index goes on with updates.
    retrain: when towers are trained; max_age_days: from which age on, beside schedule and drift; null: by
    those alone. verify: how much of the live release is hashed before it is built upon. now: when is asked,
    in ISO 8601, UTC; null is the clock. reuse_tables: take those in artifacts/rebuild/tables again. remote:
    where what is published is pushed to, as of releases.py; null: nowhere.
    """

    plan: bool = False
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)
    retrain: Retrain = Retrain.DUE
    max_age_days: float | None = bounded(None, gt=0.0)
    verify: Verify = Verify.FULL
    now: str | None = None
    remote: str | None = None

    def asked(self) -> Asked:
        """What the release is to be."""
        return Asked(
            index=self.index,
            dimension=self.dimension,
            max_parity_error=self.gates.max_parity_error,
            retrain=self.retrain,
            signs=read_signs(Path(self.artifacts), self.max_age_days),
            now_seconds=seconds_of(self.now),
            verify=self.verify,
            store_keys=read_store_keys(self.store_key),
        )

    def pipeline(self) -> PipelineSettings:
        """What train.py is told by it: to learn from the tables that stand in `artifacts`."""
        told = {item.name: getattr(self, item.name) for item in fields(PipelineSettings)}
        return PipelineSettings(**told | {"reuse_tables": True})


register("pipeline_settings", PipelineSettings)
register("rebuild_settings", RebuildSettings)
