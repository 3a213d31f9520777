"""Collections as Parquet files, for the commands `export` and `import`. Needs pyarrow."""
