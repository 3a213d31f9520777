"""What callers hand in: files, pictures in folders, and texts. Knows no protobuf."""
