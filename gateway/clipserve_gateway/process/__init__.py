"""This process and its machine: HTTP port, logs, threads, memory, files. Knows nothing of CLIP.

Imports metrics, settings, types and errors.
"""
