"""What audit.py can be told."""

from dataclasses import dataclass, field
from enum import StrEnum

from conf.structured import register
from towers.audit.feedback import FeedbackSettings
from towers.audit.membership_report import MembershipSettings
from towers.audit.output_report import OutputSettings
from towers.audit.representation import InputSettings
from towers.ladder.rungs import RungSettings


class AuditPart(StrEnum):
    """What audit.py looks at."""

    INPUT = "input"
    """The tables in `artifacts`, before anything is learned from them."""
    OUTPUT = "output"
    """What the current release of `artifacts` answers to the test questions of its own split."""
    MEMBERSHIP = "membership"
    """Whether the towers in `artifacts` tell who they learned from."""
    FEEDBACK = "feedback"
    """Whether a rung that learns from what it showed narrows what is watched, on simulated services."""
    CARD = "card"
    """The model card of that release, from its gates, evaluation.json and the audits."""


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What audit.py judges.

    population: a CSV file with the columns dimension, segment and share, whom the service means to serve;
    without one no presence is judged. input, output: when a gap is one, and when it is unknown. membership:
    when towers tell too much. feedback: the simulated services, what learns there and for how long; rungs: of
    the rungs that learn. store_key: the keys that the release may be sealed under, a path or env:NAME.
    """

    artifacts: str = "artifacts"
    part: AuditPart = AuditPart.INPUT
    population: str | None = None
    input: InputSettings = field(default_factory=InputSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    rungs: RungSettings = field(default_factory=RungSettings)
    store_key: str | None = None


register("audit_settings", AuditSettings)
