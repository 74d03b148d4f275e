"""Other orders of the top few hundred: calibrated to what was watched, or diverse."""
