"""An answer of other data or settings is never taken for one's own."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.worlds import block_world, write_tables
from towers.data.split import SplitKind, SplitSettings
from towers.errors import MissingDataError
from towers.ladder.fingerprint import fingerprint
from towers.training.settings import FitSettings


def test_logs_that_differ_in_who_watched_what_alone_are_told_apart(tmp_path: Path) -> None:
    # Both have as many titles, profiles and events of each, so that no count tells them apart.
    for seed in (3, 4):
        write_tables(block_world(2, 8, 4, 3, seed=seed), tmp_path / str(seed))
    shutil.copytree(tmp_path / "3", tmp_path / "copy")
    first, other, copy = (fingerprint(tmp_path / name, (SplitSettings(),), ()) for name in ("3", "4", "copy"))
    assert first != other
    assert first == copy


def test_what_decides_what_is_learned_counts_and_how_a_training_is_broken_off_does_not(
    tmp_path: Path,
) -> None:
    write_tables(block_world(2, 8, 4, 3, seed=0), tmp_path)
    settings = FitSettings()
    first = fingerprint(tmp_path, (SplitSettings(), settings), ("towers",))
    resumed = replace(settings, trainer=replace(settings.trainer, resume=True, checkpoint_steps=7))
    assert fingerprint(tmp_path, (SplitSettings(), resumed), ("towers",)) == first
    others = (
        ((SplitSettings(), replace(settings, seed=1)), ("towers",)),
        ((SplitSettings(kind=SplitKind.GLOBAL_TIME), settings), ("towers",)),
        ((SplitSettings(), settings), ("ease",)),
    )
    assert first not in {fingerprint(tmp_path, part, asked) for part, asked in others}


def test_a_table_that_changes_in_its_place_is_read_again(tmp_path: Path) -> None:
    write_tables(block_world(2, 8, 4, 3, seed=0), tmp_path / "tables")
    first = fingerprint(tmp_path / "tables", (), ())
    write_tables(block_world(2, 8, 4, 3, seed=1), tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "events.parquet", tmp_path / "tables" / "events.parquet")
    assert fingerprint(tmp_path / "tables", (), ()) != first


def test_without_tables_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"items\.parquet: no such file; run scripts/ingest\.py first"):
        fingerprint(tmp_path, (), ())
