"""Calls over lists, without the sending: which requests a list becomes, and what their answers add up to."""
