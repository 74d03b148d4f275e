"""What each script can be told: one settings tree per entry config, each registered where it is declared."""

from conf.audits import AuditPart, AuditSettings
from conf.comparing import DecaySettings, LadderSettings, TuneSettings
from conf.forget import ForgetSettings
from conf.judging import DriftCheckSettings, EvaluateSettings
from conf.pipeline import PipelineSettings, RebuildSettings, Stage
from conf.recommending import RecommendAllSettings, RecommendSettings
from conf.releases import ReleasesSettings
from conf.sources import IngestSettings
from conf.viewers import ControlSettings, ExplainSettings

__all__ = [
    "AuditPart",
    "AuditSettings",
    "ControlSettings",
    "DecaySettings",
    "DriftCheckSettings",
    "EvaluateSettings",
    "ExplainSettings",
    "ForgetSettings",
    "IngestSettings",
    "LadderSettings",
    "PipelineSettings",
    "RebuildSettings",
    "RecommendAllSettings",
    "RecommendSettings",
    "ReleasesSettings",
    "Stage",
    "TuneSettings",
]
