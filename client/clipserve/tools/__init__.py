"""What the command needs and the SDK does not: data sets, folders, Parquet files, contact sheets.

The SDK never imports it.
"""
