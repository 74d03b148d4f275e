"""The parts of the simulated streaming service; `towers.data.sources.simulated` puts them together."""
