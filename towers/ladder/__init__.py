"""Simpler recommenders that the towers must beat."""
