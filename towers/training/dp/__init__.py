"""Training with differential privacy: what the weights may tell of any one profile is bounded."""
