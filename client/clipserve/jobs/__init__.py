"""Calls over lists, without the sending: shared by sync and async clients."""
