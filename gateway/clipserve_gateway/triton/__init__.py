"""The models in Triton: finds them, calls them, checks their health, and distributes calls among replicas.

Imports inputs, flow and the layers below. Only `client`, `messages` and `old_versions` import Triton's stubs.
"""
