"""Immutable, versioned, verified releases."""
