"""Options that several commands have, and the server that they describe."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from clipserve.channel import DEFAULT_TARGET, Tls
from clipserve.client import Client
from clipserve.retry import RetryPolicy

PATIENT = RetryPolicy(attempts=8, initial_backoff=0.2, max_backoff=5.0)
"""Long work should outlive a server's restart."""

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
ANY = click.Path(path_type=Path, exists=True)
OUT = click.Path(path_type=Path, dir_okay=False, writable=True)

SERVER = "clipserve.server"
"""Key in the context's `meta` under which the display of errors finds the server."""

SERVER_OPTIONS = (
    click.option(
        "--target",
        "--server",
        "-s",
        envvar="CLIPSERVE_TARGET",
        default=DEFAULT_TARGET,
        show_default=True,
        metavar="HOST:PORT",
        help="The gateway. Environment: CLIPSERVE_TARGET.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Time for each request.  [default: 60, more for large ones]",
    ),
    click.option(
        "--token",
        envvar="CLIPSERVE_TOKEN",
        metavar="TEXT",
        help="Bearer token. Environment: CLIPSERVE_TOKEN.",
    ),
    click.option("--tls", is_flag=True, help="Use TLS."),
    click.option("--ca", type=FILE, help="Certificate authority to trust (PEM); implies --tls."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


@dataclass(frozen=True)
class Server:
    """What the options say: how to reach the server, and how to print its answers."""

    target: str
    timeout: float | None
    token: str | None
    tls: bool
    ca: Path | None
    as_json: bool

    def client(self, *, patient: bool = False) -> Client:
        """A client of it; click.BadParameter for a target that is none."""
        try:
            return Client(
                self.target,
                timeout=self.timeout,
                token=self.token,
                tls=Tls(ca=self.ca) if self.ca else self.tls,
                retry=PATIENT if patient else RetryPolicy(),
            )
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--target") from None


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """How to reach the server, and --json: the command gets them as one `server`."""

    @functools.wraps(command)
    def with_server(**given: Any) -> None:
        server = Server(**{name: given.pop(name) for name in Server.__dataclass_fields__})
        click.get_current_context().meta[SERVER] = server
        command(server=server, **given)

    for option in reversed(SERVER_OPTIONS):
        with_server = option(with_server)
    return with_server


def model_option(command: Callable[..., None]) -> Callable[..., None]:
    """Which model."""
    option = click.option("--model", default="", metavar="NAME", help="Model.  [default: the server's]")
    return option(command)


def template_option(command: Callable[..., None]) -> Callable[..., None]:
    """Prompts, given one by one."""
    return click.option(
        "--template",
        "-t",
        "templates",
        multiple=True,
        metavar="TEXT",
        help="Prompt with {} where the label goes; repeatable.",
    )(command)
