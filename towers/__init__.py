"""Learns user and item towers from a streaming service's logs, and judges what they retrieve."""

import os

# Threads that wait for the others of a pool must not spin: beside any other busy process they would take the
# cores they wait for (an epoch of the demo took 14 s spinning and 3 s asleep, on two shared cores). OpenMP
# reads this once, when torch loads it, which is why it stands before every import of torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
