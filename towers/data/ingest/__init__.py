"""Raw tables → canonical Parquet, rejected rows and the training store."""
