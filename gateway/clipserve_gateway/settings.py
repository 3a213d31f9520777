"""Every setting of the gateway, declared once: its name, type, default, bounds and meaning.

`CLIPSERVE_PORT=9000` in the environment and `--port 9000` on the command line both set `port`; the
command line wins. Nothing else in the gateway reads the environment.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from clipserve_gateway.types import Limits

MIB = 1024 * 1024
HEADER = re.compile(r"([a-z0-9_.-]+):\s*([!-~](?:[ -~]*[!-~])?)")


class TritonKey(BaseSettings):
    """What opens a Triton whose operator restricts it."""

    triton_headers_file: str = Field(
        "",
        description="File of headers for every call to Triton, NAME: VALUE on each line: the key to what its "
        "operator restricts.",
    )

    @field_validator("triton_headers_file")
    @classmethod
    def _holds_headers(cls, path: str) -> str:
        read_headers(readable(path))
        return path

    @property
    def triton_headers(self) -> dict[str, str]:
        """Headers for every call to Triton."""
        return read_headers(self.triton_headers_file)


def parse_endpoints(target: str) -> list[str]:
    """The endpoints of a setting like `a:8001,b:8001`. ValueError if one of them is not HOST:PORT."""
    endpoints = [part.strip().removeprefix("dns:///") for part in target.split(",") if part.strip()]
    if not endpoints:
        raise ValueError("name at least one HOST:PORT")
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if not endpoint.startswith("unix:") and (not host or not port.isdigit()):
            raise ValueError(f"{endpoint!r} is not HOST:PORT")
    return endpoints


class Settings(TritonKey):
    """Settings of one gateway process."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", frozen=True, extra="ignore")

    triton: str = Field(
        "127.0.0.1:8701",
        description="Triton's gRPC endpoints, HOST:PORT with commas between them; each address behind a "
        "name (a headless service's, say) is a replica.",
    )
    canary_seconds: float | None = Field(
        None,
        gt=0,
        description="Seconds between two canary checks of each model on each replica; a wrong answer takes "
        "the model out of service there. If not set, 5 s, and up to 30 s if the checks take more than a "
        "hundredth of the model's time.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    port: int = Field(8600, ge=0, le=65535, description="gRPC port; 0 takes a free one.")
    http_port: int = Field(
        8601, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz; 0 takes a free one."
    )
    http_host: str = Field("", description="Address of the HTTP port; that of `host` if not set.")
    compressed_requests: bool = Field(
        False,
        description="Take compressed messages. The gRPC core inflates a message before it can be counted: "
        "each may take max_message_bytes.",
    )
    tls_certificate: str = Field(
        "",
        description="This server's certificate and its chain (PEM file): turns TLS on. Read again when it "
        "changes, as the other files of tls_* and token_file are.",
    )
    tls_key: str = Field("", description="The certificate's key, RSA or ECDSA, not encrypted (PEM file).")
    tls_client_ca: str = Field(
        "",
        description="Authorities of clients (PEM file); who has no certificate of theirs is refused (mTLS).",
    )
    token_file: str = Field(
        "",
        description="File of the tokens that callers must show, and of what each allows (docs/security.md).",
    )
    admin_rpcs: bool = Field(
        True,
        description="Serve the calls that make, change or delete whole collections, aliases, label sets and "
        "migrations.",
    )
    data: str = Field(
        "data",
        description="Where collections are kept: a folder or s3://BUCKET/FOLDER (LanceDB), "
        "milvus://HOST:PORT[/DATABASE], milvuss:// for TLS, or milvus-lite:FILE.",
    )
    sync_writes: bool = Field(
        True,
        description="Acknowledge writes in a local folder only after they are synced to the disk, so that "
        "they survive a power cut.",
    )
    erase_seconds: int = Field(
        900,
        ge=0,
        description="Within this time points that were deleted or replaced leave all files of a local folder "
        "or bucket; files that hold such points are written anew, every third of it at most. 0: only "
        "`collections purge` does it.",
    )
    milvus_token: SecretStr = Field(
        SecretStr(""), description="Milvus's USER:PASSWORD or API key, where it asks for one."
    )
    milvus_token_file: str = Field("", description="File with the token for Milvus, e.g. a mounted secret.")
    milvus_ca: str = Field("", description="Certificate authority of Milvus (PEM file) for milvuss://.")
    milvus_replicas: int = Field(
        1, ge=1, le=64, description="In-memory replicas of each new collection: more searches at once."
    )
    milvus_shards: int = Field(1, ge=1, le=64, description="Shards of each new collection: faster writes.")
    milvus_consistency: Literal["bounded", "session", "strong"] = Field(
        "bounded",
        description="What searches see that do not ask for every write: bounded (all but the last moments), "
        "session (this gateway's own writes too) or strong (all, at the cost of about 200 ms).",
    )
    milvus_timeout_seconds: float = Field(10.0, gt=0, description="Time for one call to Milvus.")
    default_model: str = Field(
        "",
        description="Model for requests that name none. By default it is the first one that Triton served "
        "alone, as the store remembers it.",
    )
    model_poll_seconds: float = Field(2.0, gt=0, description="How often Triton is asked for its models.")
    decode_threads: int = Field(
        0, ge=0, le=1024, description="Threads that decode images; 0 means the cores this process may use."
    )
    fast_decode: bool = Field(
        True,
        description="Decode large JPEGs at a reduced scale and resize no more than the crop (of photographs "
        "and screenshots, cosine to the exact path ≥ 0.999); false reproduces open_clip's pixels to the bit.",
    )
    label_cache_bytes: int = Field(256 * MIB, ge=0, description="Memory for cached label embeddings.")
    default_timeout_seconds: float = Field(
        60.0, gt=0, description="Time a call may take whose caller sets no deadline."
    )
    max_inflight_items: int = Field(
        4096, ge=1, description="Images, texts and points of calls under way; more calls are refused at once."
    )
    max_inflight_bytes: int = Field(
        512 * MIB,
        ge=MIB,
        description="Bytes of the inputs of calls under way; more calls are refused at once.",
    )
    max_held_bytes: int = Field(
        1024 * MIB,
        ge=16 * MIB,
        description="Memory for the messages of calls under way: received, worked on, read from the engine "
        "and not yet sent. What has no room waits, or is refused.",
    )
    max_calls_per_caller: int = Field(
        1024,
        ge=1,
        description="Calls that a token, or without tokens a connection, may have under way; calls= in the "
        "token file goes before it.",
    )
    max_streams_per_caller: int = Field(
        256, ge=1, description="Streams among them; streams= in the token file goes before it."
    )
    bulk_share: float = Field(
        0.1,
        ge=0.01,
        le=0.99,
        description="What calls with `x-clipserve-priority: bulk` get while others wait too, 0–1.",
    )
    drain_seconds: float = Field(
        5.0, ge=0, description="After SIGTERM: how long endpoints get to notice before new calls are refused."
    )
    grace_seconds: float = Field(20.0, ge=0, description="After that: how long running calls may finish.")
    max_connection_age_seconds: int = Field(
        300, ge=1, description="Connections are renewed after this, so that clients find new replicas."
    )
    reflection: bool = Field(True, description="Serve gRPC reflection.")
    audit_log: str = Field(
        "",
        description="File that gets a line of JSON for each attempt to change what is stored and for each "
        "refused call; - for standard output; empty for no audit log.",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    max_message_bytes: int = Field(64 * MIB, ge=MIB, le=1024 * MIB, description="Bytes of one message.")
    max_items_per_call: int = Field(256, ge=1, le=65536, description="Images, inputs or points of one call.")
    max_image_bytes: int = Field(20 * MIB, ge=1024, description="Bytes of one encoded image.")
    max_image_pixels: int = Field(
        64_000_000,
        ge=1,
        description="Width × height of one image. Decoding takes up to 17 bytes of memory a pixel for one "
        "large image at a time, and 128 MiB for each further thread.",
    )
    max_labels: int = Field(10_000, ge=1, description="Labels of one Classify.")
    max_prompts: int = Field(100_000, ge=1, description="Labels × templates of one Classify.")
    max_top_k: int = Field(1_000, ge=1, description="top_k of one Search.")
    max_label_bytes: int = Field(4096, ge=1, description="Bytes of one label, in UTF-8.")
    max_text_bytes: int = Field(MIB, ge=1, description="Bytes of one text, in UTF-8.")
    stream_window: int = Field(4, ge=1, le=256, description="Batches of a stream that may wait for answers.")
    max_page_size: int = Field(1_000, ge=1, le=10_000, description="Points of one page of a scroll.")
    max_filter_bytes: int = Field(
        256 * 1024, ge=1, description="Bytes of one filter, as it is encoded in the request."
    )
    source_prefixes: str = Field(
        "",
        description="Folders that migrations may read sources from again: URIs with commas between them, "
        "e.g. file:///data/photos,s3://bucket/photos; none by default.",
    )
    max_payload_bytes: int = Field(64 * 1024, ge=1, description="Bytes of one point's payload.")

    @property
    def limits(self) -> Limits:
        """The published limits."""
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})

    @field_validator("milvus_token_file")
    @classmethod
    def _is_readable(cls, path: str) -> str:
        return readable(path)

    @property
    def milvus_secret(self) -> str:
        """The token, from wherever it is; empty if there is none."""
        if self.milvus_token_file:
            return Path(self.milvus_token_file).read_text().strip()
        return self.milvus_token.get_secret_value()

    @field_validator("data")
    @classmethod
    def _has_its_library(cls, uri: str) -> str:
        if uri.startswith("milvus") and not importlib.util.find_spec("pymilvus"):
            raise ValueError(
                "Milvus needs pymilvus: run `python -m pip install -c constraints/gateway.txt pymilvus`"
            )
        return uri

    @field_validator("triton")
    @classmethod
    def _names_endpoints(cls, target: str) -> str:
        parse_endpoints(target)
        return target

    @property
    def allowed_sources(self) -> list[str]:
        """The prefixes that sources may be read from."""
        return [prefix.strip() for prefix in self.source_prefixes.split(",") if prefix.strip()]


def readable(path: str) -> str:
    """The path of a file that can be read, or no path; ValueError otherwise."""
    if path and not os.access(path, os.R_OK):
        raise ValueError(f"{path} cannot be read")
    return path


def read_headers(path: str) -> dict[str, str]:
    """Headers by name, from a file's lines; ValueError, which shows no value, for a line that is none."""
    found: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text().splitlines() if path else (), 1):
        if line.strip():
            header = HEADER.fullmatch(line.strip())
            if header is None:
                raise ValueError(f"line {number} is no header; write NAME: VALUE, the name in small letters")
            found[header[1]] = header[2]
    return found


def host_environment() -> dict[str, str]:
    """A copy of this process's environment, to start another process with."""
    return dict(os.environ)


def change_environment(**values: str) -> None:
    """Sets variables of this process's environment, for libraries that read it."""
    os.environ.update(values)


def default_models_env() -> Path:
    """Where the README's commands put the environment that Triton runs from."""
    return Path(".venv-models")
