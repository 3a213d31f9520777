"""Collections as Parquet files: what the commands `export` and `import` read and write. Needs pyarrow."""
