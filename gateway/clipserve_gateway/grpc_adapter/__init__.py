"""The adapter of gRPC: server, port, health, reflection, and the calls that it hands to the CallRunner.

Imports servicers and what lies below.
"""
