"""Stores and searches points: one protocol (`base`), and the engines that implement it.

Imports flow and what lies below.
"""
