"""Fits the towers with Lightning and exports them; the only Lightning importers."""
