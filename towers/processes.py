"""Processes that need not import torch anew, forked from a server that has only imported.

A fork of a process in which OpenMP or FAISS has run hangs; one of a server that has run nothing does not.
"""

import multiprocessing
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
