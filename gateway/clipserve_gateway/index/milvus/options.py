"""Options of the Milvus engine, and its URIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Consistency = Literal["bounded", "session", "strong"]

SCHEMES = {"milvus": "http", "milvuss": "https"}
LITE = "milvus-lite:"


@dataclass(frozen=True)
class MilvusOptions:
    """How to connect to Milvus, and how to create its tables.

    Attributes:
        address: `http://HOST:PORT`, `https://HOST:PORT`, or the path of a milvus-lite file.
        database: empty means Milvus's default database.
        token: `USER:PASSWORD` or an API key; empty if Milvus needs none.
        ca: file of the certificate authority (PEM); empty means the system's.
        replicas, shards: number of each for new tables.
        consistency: Milvus's consistency level of searches that need not see every write.
        timeout: seconds for one call to Milvus.
    """

    address: str
    database: str = ""
    token: str = ""
    ca: str = ""
    replicas: int = 1
    shards: int = 1
    consistency: Consistency = "bounded"
    timeout: float = 10.0

    @property
    def lite(self) -> bool:
        """Whether this is milvus-lite, which runs in this process instead of a server."""
        return not self.address.startswith(("http://", "https://"))


def parse_milvus_uri(uri: str) -> tuple[str, str] | None:
    """Address and database of a `milvus://`, `milvuss://` or `milvus-lite:` URI; None for any other URI."""
    if uri.startswith(LITE):
        return uri.removeprefix(LITE), ""
    scheme, sign, rest = uri.partition("://")
    if not sign or scheme not in SCHEMES:
        return None
    host, _, database = rest.partition("/")
    return f"{SCHEMES[scheme]}://{host}", database
