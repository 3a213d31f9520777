"""The settings of a Triton on this machine."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from clipserve_gateway.settings import Settings


class LocalTritonSettings(BaseSettings):
    """Ports of the first Triton that `clipserve-gateway up` starts."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", frozen=True, extra="ignore")

    triton_port: int = Field(8701, ge=0, le=65535, description="Triton's gRPC port; 0 takes a free one.")
    triton_http_port: int = Field(8700, ge=0, le=65535, description="Triton's HTTP port; 0 takes a free one.")
    triton_metrics_port: int = Field(
        8702, ge=0, le=65535, description="Port of Triton's metrics; 0 takes a free one."
    )


class LocalSettings(Settings):
    """Settings of the gateway that `clipserve-gateway up` starts. The API over HTTP and the page are on."""

    api_port: int | None = Field(
        8602, ge=0, le=65535, description=Settings.model_fields["api_port"].description
    )
    web: bool = Field(True, description=Settings.model_fields["web"].description)
