"""Stores, searches and serves: releases on disk, indexes over item vectors, and the Retriever.

`Retriever` and `Ranking` are loaded when they are first named, so that code which only reads or writes
releases starts without torch and FAISS.
"""

from typing import TYPE_CHECKING

import towers  # noqa: F401  # first: how waiting threads behave is settled when torch is loaded

if TYPE_CHECKING:
    from retrieval.retriever import Ranking, Retriever

__all__ = ["Ranking", "Retriever"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from retrieval import retriever

        return getattr(retriever, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
