"""A Triton on this machine: found, started, watched and started again.

Imported by the command `up` alone; imports everything below it.
"""
