"""What the command line prints while it works."""

from __future__ import annotations

from clipserve.errors import Unavailable
from clipserve.tools.cli.errors import sentence
from clipserve.tools.cli.output import Rate
from rich.console import Console
from rich.progress import Progress


def test_the_rate_of_a_whole_run_counts_the_time_before_its_first_step():
    clock = [0.0]
    shown = Progress(Rate(), console=Console(quiet=True), get_time=lambda: clock[0])
    task = shown.add_task("Indexing", total=200)
    for clock[0], done in ((9.0, 100), (10.0, 200)):
        shown.update(task, completed=done)
    assert Rate().render(shown.tasks[0]).plain == "20.0/s"


def test_where_a_proxy_is_used_the_sentence_names_it_and_no_password(monkeypatch):
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    error = Unavailable("cannot reach a server at 192.0.2.1:8600: Connection refused")
    text = sentence(error, "192.0.2.1:8600")
    assert text.startswith(
        "no server answers at 192.0.2.1:8600 through the proxy 127.0.0.1:9 "
        "(http_proxy is set; no_proxy=192.0.2.1 bypasses it): Connection refused; "
    )
    assert "secret" not in text
    assert "proxy" not in sentence(error, "localhost:8600")
