"""Everything stored by name: collections with their points, aliases, migrations and label sets.

Imports inference, index and what lies below; no gRPC and no protobuf.
"""
