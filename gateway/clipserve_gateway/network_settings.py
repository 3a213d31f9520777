"""The settings of the network: Triton's address, the ports, TLS and tokens. Part of `settings`."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from clipserve_gateway.setting_values import parse_endpoints, parse_origins, read_headers, readable


class TritonKey(BaseSettings):
    """Access to a Triton that restricts some of its calls."""

    triton_headers_file: str = Field(
        "",
        description="File with headers for every call to Triton, one NAME: VALUE a line.",
    )

    @field_validator("triton_headers_file")
    @classmethod
    def _holds_headers(cls, path: str) -> str:
        read_headers(readable(path))
        return path

    @property
    def triton_headers(self) -> dict[str, str]:
        """The headers for every call to Triton."""
        return read_headers(self.triton_headers_file)


class NetworkSettings(TritonKey):
    """What a gateway connects to, and where and how it listens."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", frozen=True, extra="ignore")

    triton: str = Field(
        "127.0.0.1:8701",
        description="gRPC endpoints of Triton: HOST:PORT, separated by commas. Every address of a host "
        "name, e.g. of a headless service, is a replica.",
    )
    canary_seconds: float | None = Field(
        None,
        gt=0,
        description="Seconds between two canary checks of each model on each replica. A wrong answer takes "
        "the model out of service there. If not set: 5 s, or up to 30 s if the checks would otherwise use "
        "more than 1 % of the model's running time.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on; use 0.0.0.0 in a container.")
    port: int = Field(8600, ge=0, le=65535, description="gRPC port; 0 selects a free one.")
    http_port: int = Field(
        8601, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz; 0 selects a free one."
    )
    http_host: str = Field("", description="Address of http_port; the value of host if not set.")
    api_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the API over HTTP (JSON, OpenAI embeddings); 0 selects a free one. Empty: the "
        "API is served over gRPC only.",
    )
    api_host: str = Field("", description="Address of api_port; the value of host if not set.")
    max_api_connections: int = Field(
        1000,
        ge=1,
        le=65536,
        description="Most open connections of api_port. One more closes the one that has waited longest for "
        "a request.",
    )
    web: bool = Field(
        False,
        description="Serve the page for people at / of the API port. It asks for a token where the API does.",
    )
    compressed_requests: bool = Field(
        False,
        description="Accept compressed messages. gRPC decompresses a message before its size can be "
        "checked, so each call may take max_message_bytes of memory.",
    )
    tls_certificate: str = Field(
        "",
        description="PEM file with the certificate chain of this server; turns TLS on. All tls_* files and "
        "token_file are reloaded when they change.",
    )
    tls_key: str = Field("", description="PEM file: key of tls_certificate, RSA or ECDSA, not encrypted.")
    tls_client_ca: str = Field(
        "",
        description="PEM file with the authorities of client certificates. Clients without a certificate "
        "signed by one of them are refused (mTLS).",
    )
    token_file: str = Field(
        "",
        description="File with the tokens of callers and what each allows; see docs/security.md.",
    )
    cors_origins: str = Field(
        "",
        description="Origins whose web pages may call the API, separated by commas, e.g. "
        "https://app.example.com; * for all, which needs token_file. Without it, only pages of this server.",
    )

    @field_validator("triton")
    @classmethod
    def _names_endpoints(cls, target: str) -> str:
        parse_endpoints(target)
        return target

    @field_validator("api_port", mode="before")
    @classmethod
    def _is_off_if_empty(cls, port: object) -> object:
        return None if port == "" else port

    @field_validator("cors_origins")
    @classmethod
    def _names_origins(cls, origins: str, info: ValidationInfo) -> str:
        if "*" in parse_origins(origins) and not info.data.get("token_file"):
            raise ValueError(
                "* needs token_file: without tokens, every web page that somebody in your network opens "
                "could use this server"
            )
        return origins

    @property
    def allowed_origins(self) -> list[str]:
        """The origins in cors_origins."""
        return parse_origins(self.cors_origins)
