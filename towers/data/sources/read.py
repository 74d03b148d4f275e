"""Any source → the four tables, by the type of its settings."""

from typing import assert_never

from towers.data.schema import Tables
from towers.data.sources.movielens import MovieLensSettings, read_movielens
from towers.data.sources.simulated import SimulatedSettings, read_simulated

SourceSettings = SimulatedSettings | MovieLensSettings
"""One dataclass per source."""


def read_source(settings: SourceSettings) -> Tables:
    """The tables of a source; raises what its reader raises on a missing folder or a row it cannot read."""
    match settings:
        case SimulatedSettings():
            return read_simulated(settings)
        case MovieLensSettings():
            return read_movielens(settings)
        case _:
            assert_never(settings)
