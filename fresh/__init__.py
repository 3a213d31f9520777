"""Tries the README's commands on bare Debian systems with only Python, git and make."""
