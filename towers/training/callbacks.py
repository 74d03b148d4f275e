"""What lets a run that was cut off end as the unbroken one would: its state is saved and found again."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

BEST_CHECKPOINT = "best.ckpt"
LAST_CHECKPOINT = "last.ckpt"


class RememberedStopping(EarlyStopping):
    """Early stopping that a resumed run remembers: a run that had stopped stays stopped."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at once where the checkpoint's run had waited long enough."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class BestEpoch(ModelCheckpoint):
    """best.ckpt of one folder, wherever that folder lies when the run goes on."""

    def __init__(self, folder: Path, metric: str | None) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(BEST_CHECKPOINT).stem,
            monitor=metric,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The state with its paths in this folder: Lightning forgets the best score where it moved."""
        folder = str(self.dirpath)

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

    Lightning's own last checkpoint is renewed only when the best one is. This one is written aside, synced
    and renamed: who resumes finds the older or the newer one, whole.
    """

    def __init__(self, folder: Path, num_steps: int | None) -> None:
        self.folder = folder
        self.num_steps = num_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves after every `num_steps` steps, but not after an epoch's last.

        Then the epoch is judged, and saved; a run that went on from between the two would not judge it.
        """
        if self.num_steps is None or trainer.global_step % self.num_steps != 0:
            return
        if batch_idx + 1 < trainer.num_training_batches:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after the epoch was judged: Lightning calls checkpoint callbacks last, in their order."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        aside = self.folder / f".{LAST_CHECKPOINT}.new"
        trainer.save_checkpoint(aside, weights_only=False)  # all ranks take part, the first writes
        if trainer.is_global_zero:
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(self.folder / LAST_CHECKPOINT)
