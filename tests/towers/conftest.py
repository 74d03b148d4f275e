"""Fixtures for the tests of `towers`."""

import jaxtyping
import pytest


@pytest.fixture
def shapes_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As outside the tests: no import hook checks shapes before the code under test does."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
