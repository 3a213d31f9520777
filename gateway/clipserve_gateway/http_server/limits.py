"""The bounds of a web server's connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HttpLimits:
    """Bounds of the connections of one port.

    Attributes:
        connections: most open connections. One more closes the one that has waited longest for a request; if
            all have a request, the new one is refused.
        head_bytes: most bytes of a request's line and headers.
        headers: most headers of a request.
        head_seconds: time for the TLS handshake, and for a request's line and headers to arrive.
        least_rate: bytes per second; a connection that sends or reads less is closed.
        rate_seconds: time over which least_rate is measured while a request arrives.
        stall_seconds: the same while the client reads an answer.
        idle_seconds: time between two requests of a connection.
        linger_seconds: time in which the rest of a request is read and dropped after its answer. A client
            that sends its request to the end before it reads could not read the answer otherwise.
        age_seconds: the first answer after this time ends the connection, so that clients find new servers.
    """

    connections: int = 512
    head_bytes: int = 16 * 1024
    headers: int = 100
    head_seconds: float = 5.0
    least_rate: int = 1024
    rate_seconds: float = 5.0
    stall_seconds: float = 20.0
    idle_seconds: float = 60.0
    linger_seconds: float = 5.0
    age_seconds: float = 300.0
