"""Search of lists of like items, laid out and read by what real queries ask for."""
