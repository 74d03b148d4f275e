"""The search for traces finds what is planted, however it lies; the canaries are nobody else's."""

import base64
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from benchmarks import forget
from benchmarks.traces import bytes_left
from towers.data.sources.simulated import read_simulated

ID, MOMENT = "canary-ünïcode", 1_700_000_000_777


@pytest.mark.parametrize(
    "planted",
    [
        ID.encode(),
        ID.encode("utf-16"),
        ID.encode("utf-32-be"),
        ID.encode().hex().encode(),
        hashlib.sha256(ID.encode()).digest(),
        hashlib.md5(ID.encode()).hexdigest().upper().encode(),
        base64.b64encode(ID.encode()),
        base64.b64encode(b"x" + ID.encode()),
        base64.b64encode(b"xy" + ID.encode() + b"z"),
        np.array([0, MOMENT]).tobytes(),
        np.array([MOMENT // 1000]).tobytes(),
    ],
)
def test_a_trace_is_found_in_every_spelling(planted: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"before " + planted + b" after")
    (tmp_path / "clean").write_bytes(b"canary-unicode")
    assert list(bytes_left(tmp_path, [ID], [MOMENT])) == ["log"]


def test_a_trace_is_found_where_it_is_compressed(tmp_path: Path) -> None:
    ids = pa.array([ID] * 50).dictionary_encode()
    moments = pa.array([MOMENT] * 50, pa.timestamp("ms"))
    lists = pa.array([[ID]] * 50)
    for name, column in (("ids", ids), ("moments", moments), ("lists", lists)):
        pq.write_table(pa.table({"column": column}), tmp_path / f"{name}.parquet", compression="zstd")
    with zipfile.ZipFile(tmp_path / "last.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("state", 9 * ID)
    save_file({"time": np.array([MOMENT])}, tmp_path / "history.safetensors")
    found = bytes_left(tmp_path, [ID], [MOMENT])
    assert set(found) == {path.name for path in tmp_path.iterdir()}


def test_the_canaries_are_nobody_elses() -> None:
    planted = forget.plant(read_simulated(forget.SERVICE))
    others = planted.never.events["start"].cast(pa.int64()).to_numpy() // 1000
    assert not set(others.tolist()) & {moment // 1000 for moment in planted.moments_ms}
    assert planted.tables.events.num_rows - planted.never.events.num_rows == len(planted.moments_ms)
    assert not set(planted.never.profiles["profile_id"].to_pylist()) & set(forget.CANARIES)
