"""The models in Triton: found, asked, checked, and shared out among replicas.

Imports inputs, flow and what lies below. gRPC and the stubs of Triton are known in `client` and `messages`.
"""
