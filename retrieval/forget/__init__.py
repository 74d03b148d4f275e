"""Erasure: a profile out of serving at once, then out of everything that an artifacts folder holds."""
