"""Calls: what happens around every call, whatever protocol carries it.

Authentication, lanes, limits, deadlines, the log line and the metrics. Knows no gRPC: the adapter of a
protocol makes a `Call`, carries messages by a `Transport`, and gives both to the `CallRunner`.
Imports convert, access and what lies below.
"""
