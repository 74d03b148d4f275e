"""What a log's raw columns say: preference, sessions, places, series, and what a search led to."""
