"""Where Milvus is, and how its tables are to be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Consistency = Literal["bounded", "session", "strong"]

SCHEMES = {"milvus": "http", "milvuss": "https"}
LITE = "milvus-lite:"


@dataclass(frozen=True)
class MilvusOptions:
    """How to reach Milvus and what to ask of it.

    Attributes:
        address: `http://HOST:PORT`, `https://HOST:PORT`, or the path of a milvus-lite file.
        database: empty means Milvus's default one.
        token: `USER:PASSWORD` or an API key; empty where Milvus asks for none.
        ca: file of the certificate authority (PEM); empty means the system's.
        replicas, shards: of each new table.
        consistency: which writes searches see that do not ask for all of them.
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
        """Whether this is milvus-lite: a library in this process, not a server."""
        return not self.address.startswith(("http://", "https://"))


def parse(uri: str) -> tuple[str, str] | None:
    """Address and database of a `milvus://`, `milvuss://` or `milvus-lite:` URI; None for any other."""
    if uri.startswith(LITE):
        return uri.removeprefix(LITE), ""
    scheme, sign, rest = uri.partition("://")
    if not sign or scheme not in SCHEMES:
        return None
    host, _, database = rest.partition("/")
    return f"{SCHEMES[scheme]}://{host}", database
