"""Other orders of the top few hundred: calibrated to what was watched, diverse, with new and local titles."""
