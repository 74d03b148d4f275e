"""The exported user tower in machine code."""
