"""What the command needs and the SDK does not: data sets, folders of images, Parquet files, contact sheets.

The SDK never imports it.
"""
