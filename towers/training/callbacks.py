"""What lets a run that was cut off end as the unbroken one would: stopping and best epoch remembered."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint


class RememberedStopping(EarlyStopping):
    """Early stopping that a resumed run remembers: a run that had stopped stays stopped."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at once where the checkpoint's run had waited long enough."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class BestEpoch(ModelCheckpoint):
    """best.ckpt and last.ckpt of one folder, wherever that folder lies when the run goes on."""

    def __init__(self, folder: Path, metric: str | None) -> None:
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=metric,
            mode="max",
            save_last=True,
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
