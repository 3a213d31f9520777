"""The gRPC services. Every method makes three moves: read, do, answer."""
