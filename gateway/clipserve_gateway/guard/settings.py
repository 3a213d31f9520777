"""Every setting of the guard, declared once, as those of the gateway are."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from clipserve_gateway.settings import TritonKey


class GuardSettings(TritonKey):
    """Settings of one guard. In the environment of a gateway they mean the Triton that it starts itself."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", frozen=True, extra="ignore")

    triton: str = Field("127.0.0.1:8001", description="gRPC address of the one Triton to watch, HOST:PORT.")
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    http_port: int = Field(
        8003,
        ge=0,
        le=65535,
        description="Port of /readyz, /healthz, /alive and /metrics; 0 takes a free one.",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    canary_seconds: float | None = Field(
        None,
        gt=0,
        description="Pause between two looks: each sends every model its known image and text. If not set, "
        "5 s, and up to 30 s while all is well and a look takes more than a hundredth of the time.",
    )
    canary_timeout_seconds: float = Field(3.0, gt=0, description="Time that one look may take.")
    canary_misses: int = Field(
        2,
        ge=1,
        description="Looks in a row without an answer, nor any progress, that put a model out of service.",
    )
    restart_after_seconds: float = Field(
        60.0,
        gt=0,
        description="How long a model that was right may be wrong or missing before Triton is restarted.",
    )
    startup_seconds: float = Field(
        180.0, gt=0, description="How long a Triton that begins may take until it answers."
    )
