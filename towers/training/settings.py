"""What a training can be told; imports no Lightning, so that what only names it starts fast."""

from dataclasses import dataclass, field
from enum import StrEnum

from towers.data.batches import LoaderSettings
from towers.data.features import FeatureSettings
from towers.nets.two_tower import ModelSettings
from towers.objectives.settings import ObjectiveSettings
from towers.settings import bounded
from towers.training.balance import BalanceSettings
from towers.training.dp.settings import DPSettings


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass; weights stay in float32."""

    FLOAT32 = "32-true"
    BFLOAT16_MIXED = "bf16-mixed"


class Accelerator(StrEnum):
    """Where to train; auto takes a GPU when there is one."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class Strategy(StrEnum):
    """How several devices share the work; ddp starts one process per device."""

    AUTO = "auto"
    DDP = "ddp"


class LoggerKind(StrEnum):
    """Where the curves go; tensorboard needs the extra of that name."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """The training run.

    learning_rate: peak of a cosine with linear warm-up over `warmup_share` of all steps, which ends at
    `final_share` of the peak.
    patience: epochs without a better validation N@10 before training stops.
    gradient_clip: largest norm of a step's gradient. devices: 0 takes all there are.
    ema_decay: share of the averaged weights that a step leaves, up to a warm-up; validated, selected and
    exported are the averaged weights then. 0 averages none.
    micro_positions: the user tower encodes a batch in parts of about so many positions, each again in the
    backward pass, so that a large batch takes the memory of a small one; the gradients are those of the whole
    batch. 0 encodes it at once.
    compile: compile the blocks of the user tower, which needs a C++ compiler, or Triton on a GPU.
    checkpoint_steps: a checkpoint to go on from every so many steps, beside the one of every epoch; none of
    them where it is null.
    resume: go on from the newest checkpoint of the same folder, if there is one.
    balance: what a profile counts for at the most, and each segment; off unless one of them is given.
    dp: differential privacy; off unless its ε or its noise is given.
    """

    max_epochs: int = bounded(12, ge=1)
    patience: int = bounded(4, ge=1)
    learning_rate: float = bounded(5e-3, gt=0.0)
    weight_decay: float = bounded(0.05, ge=0.0)
    warmup_share: float = bounded(0.05, ge=0.0, le=1.0)
    final_share: float = bounded(0.0, ge=0.0, le=1.0)
    gradient_clip: float = bounded(1.0, gt=0.0)
    ema_decay: float = bounded(0.0, ge=0.0, lt=1.0)
    micro_positions: int = bounded(0, ge=0)
    compile: bool = False
    precision: Precision = Precision.FLOAT32
    accelerator: Accelerator = Accelerator.AUTO
    devices: int = bounded(1, ge=0)
    strategy: Strategy = Strategy.AUTO
    logger: LoggerKind = LoggerKind.CSV
    checkpoint_steps: int | None = bounded(None, ge=1)
    resume: bool = False
    balance: BalanceSettings = field(default_factory=BalanceSettings)
    dp: DPSettings = field(default_factory=DPSettings)


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Everything that decides what the towers learn, apart from the data.

    warm_start: an export to go on from: its towers, grown by what is new in the data, in place of random
    weights. Its model and features must be the same.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    seed: int = bounded(0, ge=0, lt=2**32)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    warm_start: str | None = None
