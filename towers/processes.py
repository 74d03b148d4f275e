"""Processes that need not import torch anew, forked from a server that has only imported.

A fork of a process in which OpenMP or FAISS has run hangs; one of a server that has run nothing does not.
"""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext

_asked = {"__main__": None}


def forked(*modules: str) -> ForkServerContext:
    """The context of such processes, whose server has these modules and all that were named before.

    To be called where a module is loaded: the server is one for all, and what is named when it runs already
    is loaded by each process for itself.
    """
    _asked.update(dict.fromkeys(modules))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_asked))
    return context


def end_with_parent() -> None:
    """Ends this process as soon as the one that asked for it is gone, however that came to its end.

    The server that forked it lives on by itself, so that no signal and no closed pipe tells it.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), name="parent", daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
