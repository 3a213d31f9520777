"""Sets the project up on a bare machine.

Runs on the system's Python before anything is installed, so it imports only the standard library.
"""
