"""Tries the README's commands on bare machines: Debians that hold Python, git and make, and nothing else."""
