"""Tables, vocabularies, splits, features and batches."""
