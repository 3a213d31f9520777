"""The settings of a Triton on this machine."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LocalTritonSettings(BaseSettings):
    """Ports of the first Triton that `clipserve-gateway up` starts."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", frozen=True, extra="ignore")

    triton_port: int = Field(8701, ge=0, le=65535, description="Triton's gRPC port; 0 takes a free one.")
    triton_http_port: int = Field(8700, ge=0, le=65535, description="Triton's HTTP port; 0 takes a free one.")
    triton_metrics_port: int = Field(
        8702, ge=0, le=65535, description="Port of Triton's metrics; 0 takes a free one."
    )
