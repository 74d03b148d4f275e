"""Learns user and item towers from a streaming service's logs, and judges what they retrieve."""
