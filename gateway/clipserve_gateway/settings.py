"""All settings of the gateway: name, type, default, bounds and help text.

`CLIPSERVE_PORT=9000` in the environment and `--port 9000` on the command line both set `port`; the command
line wins. Only this module reads the environment.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from clipserve_gateway.network_settings import NetworkSettings, TritonKey
from clipserve_gateway.setting_values import parse_color, parse_log_level, parse_source_prefixes, readable
from clipserve_gateway.types import ImageRules, Limits

__all__ = ["Settings", "TritonKey", "change_environment", "host_environment"]

MIB = 1024 * 1024


class Settings(NetworkSettings):
    """Settings of one gateway process."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", frozen=True, extra="ignore")

    admin_rpcs: bool = Field(
        True,
        description="Serve calls that change whole collections, aliases, label sets or migrations.",
    )
    data: str = Field(
        "data",
        description="Where collections are stored: a folder or s3://BUCKET/FOLDER (LanceDB), "
        "milvus://HOST:PORT[/DATABASE], milvuss:// for TLS, or milvus-lite:FILE.",
    )
    sync_writes: bool = Field(
        True,
        description="Acknowledge a write to a local folder only after it is synced to disk, so that it "
        "survives a power failure.",
    )
    erase_seconds: int = Field(
        900,
        ge=0,
        description="Deleted and replaced points leave all files of a local folder or bucket within this "
        "time, in seconds. Files with such points are rewritten, at most once in a third of this time. 0: "
        "only `collections purge` removes them.",
    )
    milvus_token: SecretStr = Field(SecretStr(""), description="USER:PASSWORD or API key of Milvus.")
    milvus_token_file: str = Field("", description="File with the token for Milvus, e.g. a mounted secret.")
    milvus_ca: str = Field("", description="PEM file with the authority of Milvus, for milvuss://.")
    milvus_replicas: int = Field(
        1, ge=1, le=64, description="In-memory replicas of each new collection: more searches at once."
    )
    milvus_shards: int = Field(1, ge=1, le=64, description="Shards of each new collection: faster writes.")
    milvus_consistency: Literal["bounded", "session", "strong"] = Field(
        "bounded",
        description="What a search sees unless it asks for all writes: bounded (all but the most recent "
        "ones), session (also all writes of this gateway) or strong (all, about 200 ms slower).",
    )
    milvus_timeout_seconds: float = Field(10.0, gt=0, description="Timeout of a call to Milvus, in seconds.")
    default_model: str = Field(
        "",
        description="Model if a call names none; if not set, the first that was ever the only one served.",
    )
    model_poll_seconds: float = Field(
        2.0, gt=0, description="Seconds between two queries of Triton for its models."
    )
    decode_threads: int = Field(0, ge=0, le=1024, description="Threads that decode images; 0: one per core.")
    fast_decode: bool = Field(
        True,
        description="Decode large JPEG images at a reduced scale and resize only the crop; for photos and "
        "screenshots the cosine to the exact path is at least 0.999. If false, pixels equal those of "
        "open_clip bit by bit.",
    )
    apply_orientation: bool = Field(
        True,
        description="Apply the EXIF orientation of images, as image viewers do. If false, images count as "
        "their pixels are stored, as in open_clip. Collections keep the value with which they were created "
        "or last migrated.",
    )
    alpha_background: str = Field(
        "#ffffff",
        description="Color behind transparent pixels, as #RRGGBB. none: transparency is dropped, as in "
        "open_clip, and the color under it shows. Collections keep the value with which they were created "
        "or last migrated.",
    )
    label_cache_bytes: int = Field(
        256 * MIB, ge=0, description="Bytes of memory for cached label embeddings."
    )
    default_timeout_seconds: float = Field(
        60.0, gt=0, description="Timeout of calls without a deadline, in seconds."
    )
    max_inflight_items: int = Field(
        4096,
        ge=1,
        description="Most images, texts and points of calls in progress; further calls are refused.",
    )
    max_inflight_bytes: int = Field(
        512 * MIB,
        ge=MIB,
        description="Most bytes of inputs of calls in progress; further calls are refused.",
    )
    max_held_bytes: int = Field(
        1024 * MIB,
        ge=16 * MIB,
        description="Bytes of memory for messages: received, in work, read from the engine, or not yet "
        "sent. A message without room waits or is refused.",
    )
    max_calls_per_caller: int = Field(
        1024,
        ge=1,
        description="Most calls in progress per token, or per connection without tokens; calls= in the "
        "token file overrides it.",
    )
    max_streams_per_caller: int = Field(
        256,
        ge=1,
        description="Most streams in progress per token, or per connection without tokens; streams= in the "
        "token file overrides it.",
    )
    bulk_share: float = Field(
        0.1,
        ge=0.01,
        le=0.99,
        description="Share of the capacity, 0–1, for calls with `x-clipserve-priority: bulk` while other "
        "calls wait.",
    )
    drain_seconds: float = Field(
        5.0,
        ge=0,
        description="Seconds after SIGTERM in which new calls are served, until load balancers notice.",
    )
    grace_seconds: float = Field(20.0, ge=0, description="Seconds after drain_seconds for calls to finish.")
    max_connection_age_seconds: int = Field(
        300, ge=1, description="Seconds until a connection is renewed, so that clients find new replicas."
    )
    reflection: bool = Field(
        True, description="Serve gRPC reflection; on the API port, /openapi.json and /docs."
    )
    audit_log: str = Field(
        "",
        description="File for the audit log: one line of JSON for each attempt to change stored data and "
        "for each refused call. - for standard output; empty for no audit log.",
    )
    log_level: str = Field("INFO", description="Log level: DEBUG, INFO, WARNING or ERROR.")
    max_message_bytes: int = Field(64 * MIB, ge=MIB, le=1024 * MIB, description="Most bytes of one message.")
    max_json_bytes: int = Field(
        16 * MIB,
        ge=MIB,
        le=256 * MIB,
        description="Most bytes of a JSON body, and of an answer before it is JSON.",
    )
    max_items_per_call: int = Field(
        256, ge=1, le=65536, description="Most images, inputs or points of one call."
    )
    max_image_bytes: int = Field(20 * MIB, ge=1024, description="Most bytes of one encoded image.")
    max_image_pixels: int = Field(
        64_000_000,
        ge=1,
        description="Most pixels (width × height) of one image. Decoding takes up to 17 bytes of memory per "
        "pixel for one large image at a time, and 128 MiB for each further thread.",
    )
    max_labels: int = Field(10_000, ge=1, description="Most labels of one Classify call.")
    max_prompts: int = Field(
        100_000, ge=1, description="Most prompts (labels × templates) of one Classify call."
    )
    max_top_k: int = Field(1_000, ge=1, description="Largest top_k of one Search call.")
    max_label_bytes: int = Field(4096, ge=1, description="Most bytes of one label, in UTF-8.")
    max_text_bytes: int = Field(MIB, ge=1, description="Most bytes of one text, in UTF-8.")
    stream_window: int = Field(
        4, ge=1, le=256, description="Most batches of a stream that are worked on at once."
    )
    max_page_size: int = Field(1_000, ge=1, le=10_000, description="Most points of one page of a scroll.")
    max_filter_bytes: int = Field(256 * 1024, ge=1, description="Most bytes of one filter.")
    source_prefixes: str = Field(
        "",
        description="URIs of folders from which migrations may read sources again, separated by commas, "
        "e.g. file:///data/photos,s3://bucket/photos.",
    )
    max_payload_bytes: int = Field(64 * 1024, ge=1, description="Most bytes of the payload of one point.")

    @property
    def limits(self) -> Limits:
        """The limits that the server publishes."""
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})

    @property
    def milvus_secret(self) -> str:
        """The token for Milvus, from the file or the setting; empty if there is none."""
        if self.milvus_token_file:
            return Path(self.milvus_token_file).read_text().strip()
        return self.milvus_token.get_secret_value()

    @field_validator("milvus_token_file")
    @classmethod
    def _is_readable(cls, path: str) -> str:
        return readable(path)

    @field_validator("data")
    @classmethod
    def _has_its_library(cls, uri: str) -> str:
        if uri.startswith("milvus") and not importlib.util.find_spec("pymilvus"):
            raise ValueError(
                "Milvus needs pymilvus: run `python -m pip install -c constraints/gateway.txt pymilvus`"
            )
        return uri

    @field_validator("alpha_background")
    @classmethod
    def _is_a_color(cls, color: str) -> str:
        parse_color(color)
        return color

    _is_a_level = field_validator("log_level")(parse_log_level)

    @field_validator("source_prefixes")
    @classmethod
    def _are_uris(cls, prefixes: str) -> str:
        parse_source_prefixes(prefixes)
        return prefixes

    @property
    def image_rules(self) -> ImageRules:
        """The rules for images without a collection, and for new collections."""
        return ImageRules(self.apply_orientation, parse_color(self.alpha_background))

    @property
    def allowed_sources(self) -> list[str]:
        """The prefixes in source_prefixes."""
        return parse_source_prefixes(self.source_prefixes)


def host_environment() -> dict[str, str]:
    """A copy of the environment of this process."""
    return dict(os.environ)


def change_environment(**values: str) -> None:
    """Sets environment variables of this process, for libraries that read them."""
    os.environ.update(values)
