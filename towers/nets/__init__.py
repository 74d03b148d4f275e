"""The networks: plain nn.Module, no Lightning."""
