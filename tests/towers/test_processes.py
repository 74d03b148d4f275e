"""Processes that need not import torch anew: none outlives the one that asked for it."""

import os
import signal
import time
from multiprocessing.connection import Connection

import pytest

from towers.processes import end_with_parent, forked

PROCESSES = forked(__name__)


def last(said: Connection) -> None:
    end_with_parent()
    said.send(os.getpid())
    time.sleep(600)


def middle(said: Connection) -> None:
    child = PROCESSES.Process(target=last, args=(said,))
    child.start()
    said.close()
    child.join()


def test_a_process_ends_with_the_one_that_asked_for_it_though_that_was_killed() -> None:
    here, there = PROCESSES.Pipe()
    parent = PROCESSES.Process(target=middle, args=(there,))
    parent.start()
    there.close()
    child = here.recv()
    assert child != parent.pid
    os.kill(child, 0)
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    assert here.poll(60)
    with pytest.raises(EOFError):  # the child held the other end, and holds it no more
        here.recv()
