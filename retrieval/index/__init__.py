"""Searchable item vectors, behind one contract."""
