"""What callers pass in: files, images and texts. Does not use protobuf."""
