"""What callers pass in: files, images in folders, and texts. Does not use protobuf."""
