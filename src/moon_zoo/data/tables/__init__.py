"""Tables of rows as their owners keep them: CSV, JSON lines and Parquet, read row by row or as Arrow batches."""
