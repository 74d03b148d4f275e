"""Learns user and item towers from a streaming service's logs, and judges what they retrieve."""

import os

# Threads that wait for the others of a pool must not spin for long: beside any other busy process they would
# take the cores they wait for (an epoch of the demo took 14 s spinning and 3 s asleep, on two shared cores);
# but to put a thread to sleep and wake it takes longer than most waits do. Training steps on Amazon Beauty,
# two cores, against no spinning at all: 4,000 turns took .81 of the time where nothing else ran, and 1.3
# times as long beside a second training; 2,000 turns .88 and 1.15, 20,000 turns .82 and 2.6. OpenMP reads
# this once, when torch loads it, which is why it stands before every import of torch. Whoever says what
# waiting threads do is left alone.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")
