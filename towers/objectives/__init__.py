"""Training losses, each a pure function with its formula and source."""
