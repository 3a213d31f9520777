"""This process and its machine: logs, threads, memory, files. Knows nothing of CLIP.

Imports metrics, settings, types and errors.
"""
