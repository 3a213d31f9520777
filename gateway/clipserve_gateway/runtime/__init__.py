"""The real Triton on this machine, from a pip-installed wheel: no container, no GPU needed."""
