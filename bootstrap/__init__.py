"""Sets the project up on a bare machine.

Runs on the system's own Python before anything is installed, so it imports the standard library only.
"""
