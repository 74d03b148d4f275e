"""One file per source: folders as their publishers ship them, or one's own tables → raw tables for ingest."""
