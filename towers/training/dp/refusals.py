"""What a private training refuses, and why: whatever its ε would not be true of."""

from towers.errors import ConfigError
from towers.objectives.settings import NegativeKind, ObjectiveKind, ObjectiveSettings, Routing
from towers.training.settings import FitSettings, Precision, Strategy, TrainerSettings

_WITH = "with trainer.dp"


def check_private(settings: FitSettings) -> None:
    """Raises ConfigError on the first setting that a private training refuses, with the reason.

    The bound on what one profile changes is that of its own gradient. It holds where the loss of a profile
    reads its own history, the weights and the public catalogue, and nothing else.
    """
    if settings.warm_start is not None:
        raise ConfigError(
            f"warm_start: {settings.warm_start} {_WITH}: what that export learned is not in this ε; expected "
            "null"
        )
    _check_objective(settings.objective, settings.model.num_interests)
    for name in ("dropout", "event_dropout"):
        if share := getattr(settings.model, name):
            raise ConfigError(
                f"model.{name}: {share:g} {_WITH}: profiles are encoded side by side, with one draw for "
                "all; expected 0: the noise keeps from learning by heart"
            )
    _check_trainer(settings.trainer)
    if settings.loader.num_workers:
        raise ConfigError(
            f"loader.num_workers: {settings.loader.num_workers} {_WITH}: profiles are drawn in the training "
            "process, by the system's own randomness; expected 0"
        )


def check_query_tower(epochs: int) -> None:
    """Raises ConfigError where a query tower would be fitted beside private towers."""
    if epochs:
        raise ConfigError(
            f"query_tower.epochs: {epochs} {_WITH}: the query tower learns from searches and histories, "
            "without noise; expected query_tower=none"
        )


def _check_objective(objective: ObjectiveSettings, num_interests: int) -> None:
    if objective.kind is not ObjectiveKind.FULL_SOFTMAX:
        match objective.negatives:
            case NegativeKind.IN_BATCH | NegativeKind.MIXED:
                raise ConfigError(
                    f"objective.negatives: {objective.negatives} {_WITH}: the loss of a profile would hold "
                    "what the others of its batch watched, and no bound on its own gradient would bound what "
                    "it changes; expected uniform, or objective.kind=full_softmax"
                )
            case NegativeKind.STRATIFIED if objective.by_column:
                pass  # the items table is public
            case NegativeKind.POPULARITY | NegativeKind.STRATIFIED:
                raise ConfigError(
                    f"objective.negatives: {objective.negatives} {_WITH}: they are drawn and corrected by "
                    "counts of the log, which have no noise; expected uniform, or "
                    "objective.kind=full_softmax"
                )
            case NegativeKind.UNIFORM:
                pass
    if num_interests > 1 and objective.routing is Routing.BALANCED:
        raise ConfigError(
            f"objective.routing: {objective.routing} {_WITH}: interests share out the targets of all the "
            "profiles of a batch; expected target or max"
        )


def _check_trainer(trainer: TrainerSettings) -> None:
    if trainer.devices != 1 or trainer.strategy is Strategy.DDP:
        raise ConfigError(
            f"trainer.devices: {trainer.devices}, trainer.strategy: {trainer.strategy} {_WITH}: profiles are "
            "drawn and noise is added once, by one process; expected devices=1 and strategy=auto"
        )
    if trainer.micro_positions:
        raise ConfigError(
            f"trainer.micro_positions: {trainer.micro_positions} {_WITH}: every profile is encoded by itself "
            "already; expected 0"
        )
    if trainer.precision is not Precision.FLOAT32:
        raise ConfigError(
            f"trainer.precision: {trainer.precision} {_WITH}: what is rounded so before it is cut is not "
            "tested; expected 32-true"
        )
    if trainer.balance.on:
        raise ConfigError(
            f"trainer.balance: on {_WITH}: its weights are counts of the log, which have no noise; expected "
            "it off: one window of each profile is learned from, and its gradient is cut, as it is"
        )
    if trainer.compile:
        raise ConfigError(
            f"trainer.compile: true {_WITH}: the gradient of one profile is too small a batch to gain by it, "
            "and is not tested so; expected false"
        )
