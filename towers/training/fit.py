"""Fits the towers: Dataset and Split in, the towers of the best epoch out."""

import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from towers.data.dataset import Dataset
from towers.data.encoded import EncodedItems
from towers.data.feature_encoder import FeatureEncoder, fit_features, training_rows
from towers.data.split import Split
from towers.data.windows import TrainingWindows
from towers.errors import ConfigError, TrainingError
from towers.nets.growth import grown_towers
from towers.nets.two_tower import TwoTower, fingerprint, load_towers
from towers.objectives.settings import ObjectiveSettings
from towers.settings import check_ranges
from towers.training.balance import balanced
from towers.training.callbacks import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    BestEpoch,
    NewestState,
    RememberedStopping,
)
from towers.training.checkpoints import SealedCheckpoints, check_checkpoint
from towers.training.datamodule import WindowDataModule
from towers.training.dp.mechanism import Mechanism
from towers.training.dp.module import PrivateTowerModule
from towers.training.dp.private_fit import PRIVACY_FILE, public_split, write_report
from towers.training.dp.profiles import ProfileDataModule
from towers.training.dp.refusals import check_private
from towers.training.module import SELECTION_METRIC, TwoTowerModule
from towers.training.prefix_report import report_prefixes
from towers.training.settings import FitSettings, LoggerKind, Strategy, TrainerSettings
from towers.training.speed import SpeedReport
from towers.training.strata import title_probability

log = logging.getLogger(__name__)


def fit_towers(dataset: Dataset, split: Split, settings: FitSettings, folder: Path) -> TwoTower:
    """Trains on the split's train part and gives back the towers of the epoch with the best validation N@10.

    Checkpoints, curves and the reports of its speed and its prefixes go to `folder`. With trainer.resume it
    goes on from the newest checkpoint there, in the middle of an epoch too, which must be of the same data
    and settings, and ends with the weights that an unbroken run would have (to the bit on one CPU thread). On
    SIGTERM or Ctrl-C it saves where it is and ends the process, as `NewestState` says. Without validation
    questions there is nothing to select by: the last epoch is taken.

    With trainer.dp it trains privately: by `PrivateTowerModule`, over every title of the catalogue, to the
    last epoch, and writes what that has spent. A run that goes on draws other profiles and other noise.

    Raises TrainingError where there is nothing to learn, a loss or a gradient is not finite, or a checkpoint
    is damaged or another run's; ConfigError on settings that this machine cannot follow, or that a private
    training refuses; StorageError where the disk has no room.
    """
    check_ranges(settings)
    num_events = int(split.num_train.sum())
    if num_events < 2:
        raise TrainingError(f"{num_events} events to learn from; expected two at least")
    mechanism = _mechanism(split, settings)
    if mechanism is not None:
        split = public_split(split, dataset)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; expected a folder that can be written to") from error
    pl.seed_everything(settings.seed, verbose=False)
    towers, encoder = _new_towers(dataset, split, settings)
    windows = TrainingWindows(
        balanced(split, dataset.profile_table, settings.trainer.balance),
        split.num_train,
        encoder.encode_profiles(dataset.profile_table, dataset.country),
        settings.model.max_history,
        settings.objective.num_targets,
    )
    of_column = title_probability(dataset.items, split.seen, settings.objective)
    lineage = _lineage(settings, encoder, split, of_column)
    data, module = _learner(
        towers, encoder.encode(dataset.items), split, windows, settings, lineage, mechanism, of_column
    )
    metric = SELECTION_METRIC if len(split.validation) else None
    checkpoint = BestEpoch(folder, metric)
    with _quiet():
        trainer = _trainer(settings.trainer, folder, [checkpoint, SpeedReport(folder, data)], metric)
        # weights_only: a checkpoint is data, and nothing in it may run.
        trainer.fit(module, data, ckpt_path=_last(folder, settings.trainer.resume), weights_only=True)
    _load_best(module, checkpoint)
    best = checkpoint.best_model_score
    log.info(
        "trained epochs=%d steps=%d best_validation_ndcg10=%s",
        trainer.current_epoch,
        trainer.global_step,
        "none" if best is None else f"{best.item():.4f}",
    )
    learned = module.judged.cpu().eval().requires_grad_(True)
    if trainer.is_global_zero:
        report_prefixes(learned, module.encoded, split.validation, settings.objective, folder)
        if mechanism is not None:
            write_report(mechanism, trainer.global_step, settings.model.max_history + 1, folder)
    return learned


def _mechanism(split: Split, settings: FitSettings) -> Mechanism | None:
    """Of a private training; None of any other."""
    trainer = settings.trainer
    if not trainer.dp.on:
        return None
    check_private(settings)
    return Mechanism.of(trainer.dp, int((split.num_train > 0).sum()), trainer.max_epochs)


def _learner(
    towers: TwoTower,
    encoded: EncodedItems,
    split: Split,
    windows: TrainingWindows,
    settings: FitSettings,
    lineage: str,
    mechanism: Mechanism | None,
    of_column: np.ndarray | None,
) -> tuple[WindowDataModule | ProfileDataModule, TwoTowerModule]:
    """What is read, and what learns from it."""
    given = towers, encoded, split, settings.objective, settings.trainer, settings.seed, lineage
    if mechanism is None:
        data = WindowDataModule(windows, settings.loader, settings.seed)
        return data, TwoTowerModule(*given, data.num_batches, of_column)
    drawn = ProfileDataModule(windows, mechanism)
    return drawn, PrivateTowerModule(*given, drawn.num_batches, of_column, mechanism=mechanism)


def _new_towers(dataset: Dataset, split: Split, settings: FitSettings) -> tuple[TwoTower, FeatureEncoder]:
    """What training begins with: random weights, or an export's, grown by what is new."""
    if settings.warm_start is None:
        encoder = fit_features(*training_rows(dataset, split), settings.features)
        return TwoTower.of_span(settings.model, encoder, *split.learned_seconds), encoder
    start = load_towers(Path(settings.warm_start))
    for name, found, wanted in (
        ("model", start.settings, settings.model),
        ("features", start.encoder.settings, settings.features),
    ):
        if found != wanted:
            raise ConfigError(
                f"warm_start: {settings.warm_start} has other settings of {name}; found {found}; expected "
                f"{wanted}, or warm_start=null to learn from nothing"
            )
    towers = grown_towers(start, dataset, split).train()
    log.info("started from an export folder=%s", settings.warm_start)
    return towers, towers.encoder


def _lineage(
    settings: FitSettings, encoder: FeatureEncoder, split: Split, of_column: np.ndarray | None
) -> str:
    """SHA-256 over all that decides what is learned: a checkpoint goes on only where it came from."""
    kept = asdict(settings)
    for name in ("max_epochs", "patience", "checkpoint_steps", "resume", "logger"):
        del kept["trainer"][name]
    del kept["loader"]["num_workers"]
    if settings.trainer.dp.on:
        kept["trainer"]["max_epochs"] = settings.trainer.max_epochs  # the noise is made for so many steps
    else:
        del kept["trainer"]["dp"]
    if not settings.trainer.balance.on:
        del kept["trainer"]["balance"]
    for name in (
        "strata",
        "strata_power",
        "frequencies",
        "stream_rate",
    ):  # what a checkpoint of before them did not say
        if kept["objective"][name] == getattr(ObjectiveSettings(), name):
            del kept["objective"][name]
    if settings.warm_start is not None:
        kept["warm_start"] = fingerprint(Path(settings.warm_start))
    digest = hashlib.sha256(json.dumps([kept, encoder.to_json()], sort_keys=True).encode())
    learned = split.learned
    columns = (learned.offset, learned.item_row, learned.time_seconds, learned.minutes, learned.weight)
    for column in (*columns, split.num_train, *(() if of_column is None else (of_column,))):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def _last(folder: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from; an older run's are removed where there is none to go on from."""
    last = folder / LAST_CHECKPOINT
    if resume and last.is_file():
        for path in (folder / BEST_CHECKPOINT, last):
            if path.is_file():
                check_checkpoint(path)  # at once, and not when the last epoch is over
        return last
    (folder / PRIVACY_FILE).unlink(missing_ok=True)
    for path in (folder / BEST_CHECKPOINT, last):
        if path.exists():
            path.unlink()
            log.info("removed the checkpoint of an older run file=%s", path)
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps out of the log what Lightning says of itself, and four warnings nobody here can act on."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        # Lightning 2.6 on torch 2.13.
        warnings.filterwarnings("ignore", message=r".*LeafSpec.* is deprecated", category=FutureWarning)
        # Its new name is not in the oldest torch that we support.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
        yield


def _trainer(
    settings: TrainerSettings, folder: Path, callbacks: list[Callback], metric: str | None
) -> pl.Trainer:
    callbacks = [*callbacks, NewestState(folder, settings.checkpoint_steps)]
    if sys.stderr.isatty():
        callbacks.append(RichProgressBar(leave=False, console_kwargs={"stderr": True}))
    if metric is not None:
        callbacks.append(
            RememberedStopping(metric, mode="max", patience=settings.patience, check_on_train_epoch_end=True)
        )
    try:
        return pl.Trainer(
            max_epochs=settings.max_epochs,
            accelerator=settings.accelerator.value,
            devices=settings.devices or "auto",
            strategy=_strategy(settings.strategy),
            precision=settings.precision.value,
            callbacks=callbacks,
            plugins=[SealedCheckpoints()],
            logger=_logger(settings.logger, folder),
            default_root_dir=folder,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            # The windows are cut anew every epoch, and the loader shards them itself.
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ModuleNotFoundError) as error:
        # An accelerator this machine lacks, a logger that is not installed: Lightning says which.
        raise ConfigError(f"trainer: {str(error).splitlines()[0]}") from error


def _strategy(kind: Strategy) -> str | DDPStrategy:
    match kind:
        case Strategy.AUTO:
            return "auto"
        case Strategy.DDP:
            # The buffers are the catalogue: the same everywhere, and never learned.
            return DDPStrategy(broadcast_buffers=False)


def _logger(kind: LoggerKind, folder: Path) -> Logger:
    match kind:
        case LoggerKind.CSV:
            return CSVLogger(folder, name="curves")
        case LoggerKind.TENSORBOARD:
            return TensorBoardLogger(folder, name="curves")


def _load_best(module: TwoTowerModule, checkpoint: ModelCheckpoint) -> None:
    # Without a metric Lightning keeps the newest epoch as the best.
    module.load_state_dict(SealedCheckpoints().load_checkpoint(checkpoint.best_model_path)["state_dict"])
