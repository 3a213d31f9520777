"""Options that several commands have, and the server that they describe."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from clipserve.client import Client
from clipserve.retry import RetryPolicy
from clipserve.token import TokenFile, bearer
from clipserve.tools.cli.paths import ExistingPath
from clipserve.tools.cli.stdin import TEXT_OR_STDIN
from clipserve.tools.cli.terminal import say
from clipserve.transport.channel import DEFAULT_TARGET, Tls

PATIENT = RetryPolicy(attempts=8, initial_backoff=0.2, max_backoff=5.0)
"""Long work should outlive a server's restart."""

IN_FLIGHT = 4
"""Requests of one call that are under way at a time."""

FILE = ExistingPath(path_type=Path, exists=True, dir_okay=False)
FOLDER = ExistingPath(path_type=Path, exists=True, file_okay=False)
ANY = ExistingPath(path_type=Path, exists=True)
OUT = click.Path(path_type=Path, dir_okay=False, writable=True)

SERVER = "clipserve.server"
"""Key in the context's `meta` under which the display of errors finds the server."""

GIVEN = "clipserve.given"
"""Key in the context's `meta` under which commands find the options that stood before them."""

SERVER_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--target", "--server", "-s"),
        {
            "envvar": "CLIPSERVE_TARGET",
            "default": DEFAULT_TARGET,
            "show_default": True,
            "metavar": "HOST:PORT",
            "help": "The gateway. Environment: CLIPSERVE_TARGET.",
        },
    ),
    (
        ("--timeout",),
        {
            "type": click.FloatRange(0, min_open=True),
            "metavar": "SECONDS",
            "help": "Time for each request.  [default: 60, more for large ones]",
        },
    ),
    (
        ("--token",),
        {
            "envvar": "CLIPSERVE_TOKEN",
            "metavar": "TEXT",
            "help": "Bearer token; others may see it in the list of processes. Environment: CLIPSERVE_TOKEN.",
        },
    ),
    (
        ("--token-file",),
        {
            "envvar": "CLIPSERVE_TOKEN_FILE",
            "type": FILE,
            "help": "File of the token, read for every request. Environment: CLIPSERVE_TOKEN_FILE.",
        },
    ),
    (
        ("--tls",),
        {"envvar": "CLIPSERVE_TLS", "is_flag": True, "help": "Use TLS. Environment: CLIPSERVE_TLS=1."},
    ),
    (
        ("--ca",),
        {
            "envvar": "CLIPSERVE_CA",
            "type": FILE,
            "help": "Certificate authority to trust (PEM); implies --tls. Environment: CLIPSERVE_CA.",
        },
    ),
    (
        ("--cert",),
        {
            "envvar": "CLIPSERVE_CERT",
            "type": FILE,
            "help": "Certificate to show (mTLS, PEM), with --key; implies --tls. "
            "Environment: CLIPSERVE_CERT.",
        },
    ),
    (
        ("--key",),
        {"envvar": "CLIPSERVE_KEY", "type": FILE, "help": "Its key (PEM). Environment: CLIPSERVE_KEY."},
    ),
    (
        ("--server-name",),
        {
            "envvar": "CLIPSERVE_SERVER_NAME",
            "metavar": "NAME",
            "help": "Name in the server's certificate, where it is not the target's; implies --tls. "
            "Environment: CLIPSERVE_SERVER_NAME.",
        },
    ),
    (("--json", "as_json"), {"is_flag": True, "help": "Print one JSON document."}),
)


@dataclass(frozen=True)
class Server:
    """What the options say: how to reach the server, and how to print its answers."""

    target: str
    timeout: float | None
    token: str | None = field(repr=False)
    token_file: Path | None
    tls: bool
    ca: Path | None
    cert: Path | None
    key: Path | None
    server_name: str | None
    as_json: bool

    @property
    def security(self) -> Tls | None:
        """TLS, if any option asks for it; click.UsageError for options that do not go together."""
        if (self.cert is None) != (self.key is None):
            raise click.UsageError("--cert and --key go together")
        if not (self.tls or self.ca or self.cert or self.server_name):
            return None
        return Tls(self.ca, self.cert, self.key, server_name=self.server_name or "")

    def client(self, *, patient: bool = False, in_flight: int = IN_FLIGHT) -> Client:
        """A client of it; click.BadParameter for a target or a token that is none.

        A patient one is a job: it tries longer, and leaves a busy server to those who wait for answers.
        """
        try:
            bearer(self.token)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--token") from None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                made = Client(
                    self.target,
                    timeout=self.timeout,
                    token=TokenFile(self.token_file) if self.token_file else self.token,
                    tls=self.security or False,
                    retry=PATIENT if patient else RetryPolicy(),
                    in_flight=in_flight,
                    priority="bulk" if patient else "interactive",
                )
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--target") from None
        for warning in warned:
            say(f"Warning: {warning.message}", err=True)
        return made


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """How to reach the server, and --json: the command gets them as one `server`."""

    @functools.wraps(command)
    def with_server(**given: Any) -> None:
        ctx = click.get_current_context()
        chosen = {name: given.pop(name) for name in Server.__dataclass_fields__}
        before = ctx.meta.get(GIVEN, {})
        chosen |= {name: value for name, value in before.items() if not on_command_line(ctx, name)}
        typed = {name for name in chosen if name in before or on_command_line(ctx, name)}
        ctx.meta[SERVER] = server = Server(**one_token(chosen, typed))
        if server.token and "token" in typed:
            say(
                "Warning: others may see --token among the processes; use --token-file or CLIPSERVE_TOKEN",
                err=True,
            )
        command(server=server, **given)

    return with_options(with_server)


def one_token(chosen: dict[str, Any], typed: set[str]) -> dict[str, Any]:
    """The options with one source of the token: what was typed goes before the environment."""
    both = {"token", "token_file"}
    if not (chosen["token"] and chosen["token_file"]):
        return chosen
    if len(both & typed) != 1:
        raise click.UsageError("give --token or --token-file, not both (also not by their variables)")
    return chosen | dict.fromkeys(both - typed)


def hidden_server_options(group: Callable[..., None]) -> Callable[..., None]:
    """The same options before the command, without a second place in the help."""
    return with_options(group, hidden=True)


def with_options(command: Callable[..., None], **more: Any) -> Callable[..., None]:
    """The command with SERVER_OPTIONS."""
    for names, settings in reversed(SERVER_OPTIONS):
        command = click.option(*names, **settings, **more)(command)
    return command


def keep_for_commands(ctx: click.Context, given: Mapping[str, Any]) -> None:
    """Keeps the options that stood before the command."""
    ctx.meta[GIVEN] = {name: value for name, value in given.items() if on_command_line(ctx, name)}


def on_command_line(ctx: click.Context, name: str) -> bool:
    """Whether the option was typed, rather than left at its default or taken from the environment."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


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
        type=TEXT_OR_STDIN,
        help="Prompt with {} where the label goes; repeatable.",
    )(command)


def parallel_option(command: Callable[..., None]) -> Callable[..., None]:
    """How many requests are under way at a time."""
    return click.option(
        "--parallel",
        type=click.IntRange(1, 64),
        default=IN_FLIGHT,
        show_default=True,
        metavar="N",
        help="Requests under way at a time.",
    )(command)


def filter_option(command: Callable[..., None]) -> Callable[..., None]:
    """Which points."""
    return click.option(
        "--filter",
        "-f",
        "filter_text",
        metavar="TEXT",
        type=TEXT_OR_STDIN,
        help="""Only points like this, e.g. 'folder == "sea" and bytes > 100000'.""",
    )(command)


def root_option(command: Callable[..., None]) -> Callable[..., None]:
    """Where pictures lie."""
    return click.option(
        "--root", type=FOLDER, metavar="FOLDER", help="Where the indexed folder lies now, if it has moved."
    )(command)
