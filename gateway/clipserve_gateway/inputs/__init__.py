"""Turns image bytes and texts into the tensors that encoders take.

Only this folder imports Pillow. Imports flow and what lies below.
"""
