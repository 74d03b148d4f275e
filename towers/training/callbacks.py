"""What lets a run that was cut off end as the unbroken one would: its state is saved and found again."""

import logging
import signal
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from towers.errors import TrainingError

BEST_CHECKPOINT = "best.ckpt"
LAST_CHECKPOINT = "last.ckpt"
EXIT_TERMINATED = 128 + signal.SIGTERM
"""Exit status of a training that SIGTERM ended, its state saved; what a shell says of any such end."""

log = logging.getLogger(__name__)


class RememberedStopping(EarlyStopping):
    """Early stopping that a resumed run remembers: a run that had stopped stays stopped."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at once where the checkpoint's run had waited long enough."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class BestEpoch(ModelCheckpoint):
    """best.ckpt of one folder, wherever that folder lies when the run goes on; weights alone."""

    def __init__(self, folder: Path, metric: str | None) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(BEST_CHECKPOINT).stem,
            monitor=metric,
            mode="max",
            save_weights_only=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The state with its paths in this folder: Lightning forgets the best score where it moved.

        Raises TrainingError where the best epoch is not there: it could not be given back at the end.
        """
        folder = str(self.dirpath)
        if state_dict.get("best_model_path") and not Path(folder, BEST_CHECKPOINT).is_file():
            raise TrainingError(
                f"{Path(folder, BEST_CHECKPOINT)}: no such file beside {LAST_CHECKPOINT}, which names it; "
                "expected both: put back a copy, or say trainer.resume=false to train anew"
            )

        def here(path: str) -> str:
            return str(Path(folder, Path(path).name)) if path else path

        moved = {**state_dict, "dirpath": folder}
        for name in ("best_model_path", "last_model_path", "kth_best_model_path"):
            moved[name] = here(state_dict.get(name, ""))
        best = state_dict.get("best_k_models", {})
        moved["best_k_models"] = {here(path): score for path, score in best.items()}
        super().load_state_dict(moved)


class NewestState(Checkpoint):
    """last.ckpt of one folder: where the run is, at the end of every epoch and every `num_steps` steps.

    Lightning's own last checkpoint is renewed only when the best one is. On SIGTERM, and on Ctrl-C, the step
    is finished, or the epoch where the step was its last, the state is saved, and the process ends with 128
    and the number of the signal, EXIT_TERMINATED; of processes that train together, all end as soon as one
    was asked to. A second Ctrl-C does not wait.
    """

    def __init__(self, folder: Path, num_steps: int | None) -> None:
        self.folder = folder
        self.num_steps = num_steps
        self._heard: signal.Signals | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hears both in place of Lightning, which would end without a checkpoint, and with status 0 or 1.

        Lightning puts back what was there before when it ends.
        """
        self._heard = None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._hear)
            # What runs in the background ignores Ctrl-C.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, self._hear)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves after every `num_steps` steps, but not after an epoch's last.

        Then the epoch is judged, and saved; a run that went on from between the two would not judge it.
        """
        if batch_idx + 1 >= trainer.num_training_batches:
            return
        terminated = self._is_terminated(trainer)
        if terminated or (self.num_steps is not None and trainer.global_step % self.num_steps == 0):
            self._save(trainer)
        if terminated:
            self._leave(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after the epoch was judged: Lightning calls checkpoint callbacks last, in their order."""
        self._save(trainer)
        if self._is_terminated(trainer):
            self._leave(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        # All ranks take part, the first writes.
        trainer.save_checkpoint(self.folder / LAST_CHECKPOINT, weights_only=False)

    def _hear(self, number: int, frame: object) -> None:
        self._heard = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _is_terminated(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return self._heard is not None
        heard = torch.tensor(float(self._heard is not None), device=trainer.strategy.root_device)
        return bool(trainer.strategy.reduce(heard, reduce_op="sum") > 0)

    def _leave(self, trainer: pl.Trainer) -> None:
        heard = self._heard or signal.SIGTERM  # or another rank did
        log.warning(
            "training ended by %s epoch=%d steps=%d; go on with trainer.resume=true",
            heard.name,
            trainer.current_epoch,
            trainer.global_step,
        )
        raise SystemExit(128 + heard)
