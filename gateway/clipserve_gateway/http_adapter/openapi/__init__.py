"""The API's description for other programs, and the page that shows it: /openapi.json and /docs.

All of the description is made from the descriptors of the protos.
"""
