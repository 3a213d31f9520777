"""The settings of the guard."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from clipserve_gateway.setting_values import parse_log_level
from clipserve_gateway.settings import TritonKey


class GuardSettings(TritonKey):
    """Settings of one guard. `clipserve-gateway up` reads them for the Tritons that it starts."""

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
        description="Seconds between two probes; each sends every model its canary, an image and a text. "
        "If not set: 5 s, or up to 30 s if the probes would otherwise use more than 1 % of the time, as "
        "long as all models answer correctly.",
    )
    canary_timeout_seconds: float = Field(3.0, gt=0, description="Longest time of one probe, in seconds.")
    canary_misses: int = Field(
        2,
        ge=1,
        description="After this many probes in a row without an answer or progress, a model is out of "
        "service: callers are sent to other Tritons.",
    )
    restart_after_seconds: float = Field(
        60.0,
        gt=0,
        description="Restart Triton if a model that once worked fails for this long, in seconds.",
    )
    startup_seconds: float = Field(
        180.0,
        gt=0,
        description="Seconds that a Triton may take to answer after its start. `up` sees the progress of the "
        "load, and ends a start only after this time without any.",
    )

    _is_a_level = field_validator("log_level")(parse_log_level)
