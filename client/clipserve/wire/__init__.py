"""Between Python values and protobuf messages, piece by piece: images, payloads, label sets, statuses."""
