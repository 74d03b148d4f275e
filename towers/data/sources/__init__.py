"""One file per public data set: folders as their publishers ship them → Tables."""
