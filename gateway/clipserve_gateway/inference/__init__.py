"""Embeds and classifies images and texts, and caches the embeddings of labels.

Imports triton, index, inputs, flow and what lies below; no gRPC and no protobuf.
"""
