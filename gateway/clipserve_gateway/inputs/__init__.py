"""Image bytes and texts become the tensors that encoders take.

The one place of Pillow. Imports flow and what lies below.
"""
