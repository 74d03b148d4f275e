"""FAISS behind the index contract; the only package that imports FAISS.

Three properties of the library are dealt with here. It brings an OpenMP runtime of its own, whose idle
threads would spin and take the cores from torch's: `towers/__init__.py` settles that for both.
Its runtime does not survive a fork: a child forked after a search would hang in its first one, so children
search on one thread. And its readers are native parsers: hand them only files whose hash was verified.
"""

import os

import faiss

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))
