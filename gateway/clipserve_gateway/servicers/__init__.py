"""The methods of the API, whatever protocol carries them. Each one reads its request, does, and answers.

Knows no gRPC. Imports calls and what lies below.
"""
