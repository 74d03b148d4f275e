"""Releases in an object store, or on a shared disk: pushed from one machine, pulled by many."""
