"""Embeddings and classification of images and texts, and the embeddings of labels.

Imports triton, index, inputs, flow and what lies below; no gRPC and no protobuf.
"""
