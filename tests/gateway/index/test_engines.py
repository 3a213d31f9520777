from __future__ import annotations

import pytest
from click import UsageError
from clipserve_gateway.cli import settings_from
from clipserve_gateway.index.engines import engine_of
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.milvus.engine import MilvusEngine
from clipserve_gateway.settings import Settings


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("data", LanceEngine),
        ("s3://bucket/collections", LanceEngine),
        ("milvus://db:19530/photos", MilvusEngine),
        ("milvus-lite:photos.db", MilvusEngine),
    ],
)
def test_where_collections_are_kept_says_which_engine_keeps_them(data, kind):
    assert isinstance(engine_of(Settings(data=data)), kind)


def test_the_settings_of_milvus_reach_the_engine(tmp_path):
    (tmp_path / "token").write_text("user:secret\n")
    settings = Settings(
        data="milvuss://db:19530/photos",
        milvus_token_file=str(tmp_path / "token"),
        milvus_replicas=2,
        milvus_shards=3,
        milvus_consistency="session",
        milvus_timeout_seconds=4.5,
        milvus_ca="/ca.pem",
    )
    options = engine_of(settings)._options
    assert (options.address, options.database, options.token) == ("https://db:19530", "photos", "user:secret")
    assert (options.replicas, options.shards, options.consistency) == (2, 3, "session")
    assert (options.timeout, options.ca, options.lite) == (4.5, "/ca.pem", False)


def test_a_token_is_not_shown_with_the_settings():
    settings = Settings(milvus_token="user:secret")
    assert "secret" not in repr(settings)
    assert settings.milvus_secret == "user:secret"


def test_a_token_file_that_cannot_be_read_is_named_at_the_start(tmp_path):
    with pytest.raises(UsageError, match=r"milvus_token_file.*missing"):
        settings_from({"milvus_token_file": str(tmp_path / "missing")})
