"""Which titles may be shown: rules → a bit per title of a catalogue."""
