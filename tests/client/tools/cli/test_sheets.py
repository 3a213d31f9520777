"""Contact sheets of `clipserve search`."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["hits.png", "hits.html"])
def test_hits_are_drawn(run, photos, tmp_path, name):
    run("index", photos, "-c", "holiday")
    result = run("search", "a dog", "-c", "holiday", "-k", "3", "--sheet", tmp_path / name)
    assert f"wrote {tmp_path / name}" in result.stdout
    assert (tmp_path / name).stat().st_size > 1000
    (photos / "a.png").rename(photos / "moved.png")
    result = run("search", "a dog", "-c", "holiday", "--sheet", tmp_path / name)
    assert "1 picture is not shown: the file is gone from the indexed folder" in result.stderr


def test_a_moved_folder_is_named_with_root(answer, photos, tmp_path):
    answer("index", photos, "-c", "holiday")
    photos.rename(tmp_path / "moved")
    document = answer("search", "x", "-c", "holiday", "--root", tmp_path / "moved")
    assert all(hit["path"].startswith(str(tmp_path / "moved")) for hit in document["hits"])
