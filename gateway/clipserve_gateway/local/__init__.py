"""A Triton on this machine: finds it, starts it, watches it and restarts it.

Only the command `up` imports this; it may import everything below.
"""
