"""What the tests of remote releases share."""

import os

import pytest


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here cuts the power, as the claim publish-faults does; thousands of syncs take their time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
