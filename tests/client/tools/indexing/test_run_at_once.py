"""Two first runs of `clipserve index` into one new collection at the same time overwrite nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from client.conftest import FAST
from client.pictures import png
from clipserve import Client, Point, PointExists
from clipserve.errors import FailedPrecondition
from clipserve.tools.indexing.facts import SCHEMA, Picture
from clipserve.tools.indexing.reading import Reader
from clipserve.tools.indexing.run import IndexRun
from clipserve.tools.picture_files import find_images

PICTURES = 40


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders of pictures with equal names."""
    paths = []
    for number in range(2):
        folder = tmp_path / f"camera{number}"
        folder.mkdir()
        for i in range(PICTURES):
            (folder / f"{i:03}.png").write_bytes(png(100 * number + i))
        paths.append(folder)
    return paths


def index_at_once(address: str, folders: list[Path], *, insert_only: bool = True) -> list[IndexRun]:
    """Runs that both saw an empty collection before either of them wrote."""
    ready = threading.Barrier(len(folders))

    def run(folder: Path) -> IndexRun:
        with Client(address, retry=FAST, batch_size=4) as client:
            pictures = [Picture(folder, path) for path in find_images(folder)]
            reader = Reader(frozenset(SCHEMA), client.info().limits.max_image_bytes)
            made = IndexRun(
                client,
                "holiday",
                pictures,
                reader,
                known=False,
                insert_only=insert_only,
                progress=lambda done: None,
            )
            ready.wait()
            made.run()
            return made

    with ThreadPoolExecutor(len(folders)) as threads:
        return list(threads.map(run, folders))


def test_each_name_has_the_picture_of_one_folder_and_the_other_run_says_so(server, client, folders):
    client.create_collection("holiday", schema=SCHEMA)
    runs = index_at_once(server.address, folders)
    owners = {point.id: point.payload["root"] for point in client.scroll("holiday")}
    assert len(owners) == PICTURES
    for folder, run in zip(folders, runs, strict=True):
        lost = {name for name, _ in run.failures}
        assert lost == {id for id, owner in owners.items() if owner != str(folder)}
        assert run.counts["new"] == PICTURES - len(lost)
        assert all("--prefix NAME/" in str(error) for _, error in run.failures)
    assert sum(len(run.failures) for run in runs) == PICTURES


def test_two_runs_over_one_folder_both_succeed(server, client, folders):
    client.create_collection("holiday", schema=SCHEMA)
    runs = index_at_once(server.address, [folders[0], folders[0]])
    assert [run.failures for run in runs] == [[], []]
    assert client.count("holiday") == PICTURES


def test_a_server_that_cannot_tell_new_points_is_not_asked_to(run, server, client, folders):
    server.state.inserts_new_points = False
    run("index", folders[0], "-c", "holiday")
    assert client.count("holiday") == PICTURES
    result = client.upsert("holiday", [Point("a", text="a", must_be_new=True)], on_error="return")
    assert isinstance(result.errors[0], FailedPrecondition)
    assert "too old for must_be_new" in str(result.errors[0])


def test_the_command_lists_pictures_whose_ids_were_taken_meanwhile(run, client, folders, monkeypatch):
    real = IndexRun.run

    def run_late(self: IndexRun) -> None:
        client.upsert("holiday", [Point("007.png", text="another's", payload={"root": "/elsewhere"})])
        real(self)

    monkeypatch.setattr(IndexRun, "run", run_late)
    result = run("index", folders[0], "-c", "holiday", code=3)
    assert "a point of another folder has the id '007.png'" in " ".join(result.stderr.split())
    [kept] = client.get_points("holiday", ["007.png"])
    assert kept.payload["root"] == "/elsewhere"
    result = client.upsert("holiday", [Point("007.png", text="a", must_be_new=True)], on_error="return")
    assert isinstance(result.errors[0], PointExists)
