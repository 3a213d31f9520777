"""Converts single Python values to protobuf messages and back: images, payloads, label sets, statuses."""
