"""Options that several commands share, and the server that they describe."""

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
from clipserve.tools.cli.output import print_json
from clipserve.tools.cli.paths import ExistingPath, OutputFile
from clipserve.tools.cli.stdin import TEXT_OR_STDIN
from clipserve.tools.cli.terminal import say
from clipserve.transport.channel import DEFAULT_TARGET, Tls

JOB_RETRY = RetryPolicy(attempts=8, initial_backoff=0.2, max_backoff=5.0)
"""For long jobs: it bridges the restart of a server."""

IN_FLIGHT = 4
"""Concurrent requests of one command."""

FILE = ExistingPath(path_type=Path, exists=True, dir_okay=False)
FOLDER = ExistingPath(path_type=Path, exists=True, file_okay=False)
OUT = OutputFile()

SERVER = "clipserve.server"
"""Key of the Server in the context's `meta`; errors are printed with its target."""

TYPED_OPTIONS = "clipserve.given"
"""Key in the context's `meta` of the options that were typed before the command."""


def with_variable(*names: str, help: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """An option that the environment can set as well, by a variable named after it."""
    variable = f"CLIPSERVE_{names[0].removeprefix('--').replace('-', '_').upper()}"
    return names, {"envvar": variable, "help": f"{help} Environment: {variable}.", **settings}


SERVER_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    with_variable(
        *("--target", "--server", "-s"),
        default=DEFAULT_TARGET,
        show_default=True,
        metavar="HOST:PORT",
        help="Address of the gateway.",
    ),
    (
        ("--timeout",),
        {
            "type": click.FloatRange(0, min_open=True),
            "metavar": "SECONDS",
            "help": "Time limit of each request.  [default: 60, more for large ones]",
        },
    ),
    with_variable(
        "--token",
        metavar="TEXT",
        help="Bearer token; visible in the process list, so prefer --token-file.",
    ),
    with_variable("--token-file", type=FILE, help="File with the bearer token, read for every request."),
    with_variable("--tls", is_flag=True, help="Use TLS."),
    with_variable("--ca", type=FILE, help="Certificate authority to trust (PEM); implies --tls."),
    with_variable("--cert", type=FILE, help="Client certificate for mTLS (PEM), with --key; implies --tls."),
    with_variable("--key", type=FILE, help="Key of --cert (PEM)."),
    with_variable(
        "--server-name",
        metavar="NAME",
        help="Name in the server's certificate if it differs from the target; implies --tls.",
    ),
    (("--json", "as_json"), {"is_flag": True, "help": "Print one JSON document."}),
)


@dataclass(frozen=True)
class Server:
    """How to reach the server and how to print its answers, from the options."""

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
        """TLS settings if any option asks for TLS. Raises click.UsageError for half a key pair."""
        if (self.cert is None) != (self.key is None):
            raise click.UsageError("--cert and --key must be given together")
        if not (self.tls or self.ca or self.cert or self.server_name):
            return None
        return Tls(self.ca, self.cert, self.key, server_name=self.server_name or "")

    def answer(self, document: Mapping[str, Any], told: str | Callable[[], None]) -> None:
        """Prints the document if --json was given, else the sentence, or what the function prints."""
        if self.as_json:
            print_json(document)
        elif isinstance(told, str):
            say(told)
        else:
            told()

    def client(self, *, job: bool = False, in_flight: int = IN_FLIGHT) -> Client:
        """A client of the server. Raises click.BadParameter for a malformed target or token.

        With `job`, it retries longer, and its calls yield to interactive ones.
        """
        try:
            bearer(self.token)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--token") from None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                made = Client(
                    self.target,
                    timeout=self.timeout,
                    token=TokenFile(self.token_file) if self.token_file else self.token,
                    tls=self.security or False,
                    retry=JOB_RETRY if job else RetryPolicy(),
                    in_flight=in_flight,
                    priority="bulk" if job else "interactive",
                )
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--target") from None
        for warning in caught:
            say(f"Warning: {warning.message}", err=True)
        return made


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds SERVER_OPTIONS; the command gets them as one argument `server`."""

    @functools.wraps(command)
    def with_server(**given: Any) -> None:
        ctx = click.get_current_context()
        chosen = {name: given.pop(name) for name in Server.__dataclass_fields__}
        before = ctx.meta.get(TYPED_OPTIONS, {})
        chosen |= {name: value for name, value in before.items() if not on_command_line(ctx, name)}
        typed = {name for name in chosen if name in before or on_command_line(ctx, name)}
        ctx.meta[SERVER] = server = Server(**one_token(chosen, typed))
        if server.token and "token" in typed:
            say(
                "Warning: --token is visible in the process list; use --token-file or CLIPSERVE_TOKEN",
                err=True,
            )
        command(server=server, **given)

    return with_options(with_server)


def one_token(chosen: dict[str, Any], typed: set[str]) -> dict[str, Any]:
    """The options with one source of the token: typed options win over the environment."""
    names = {"token", "token_file"}
    if not (chosen["token"] and chosen["token_file"]):
        return chosen
    if len(names & typed) != 1:
        raise click.UsageError("give --token or --token-file, not both (their variables count too)")
    return chosen | dict.fromkeys(names - typed)


def with_options(command: Callable[..., None], **more: Any) -> Callable[..., None]:
    for names, settings in reversed(SERVER_OPTIONS):
        command = click.option(*names, **settings, **more)(command)
    return command


hidden_server_options = functools.partial(with_options, hidden=True)
"""Adds SERVER_OPTIONS to the group, so that they may stand before the command. Help lists them once."""


def keep_for_commands(ctx: click.Context, given: Mapping[str, Any]) -> None:
    ctx.meta[TYPED_OPTIONS] = {name: value for name, value in given.items() if on_command_line(ctx, name)}


def on_command_line(ctx: click.Context, name: str) -> bool:
    """Whether the option was typed, not a default or taken from the environment."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


model_option = click.option(
    "--model", default="", metavar="NAME", help="Name of the model.  [default: the server's]"
)
template_option = click.option(
    "--template",
    "-t",
    "templates",
    multiple=True,
    metavar="TEXT",
    type=TEXT_OR_STDIN,
    help="Prompt template with {} in place of the label; repeatable.",
)
filter_option = click.option(
    "--filter",
    "-f",
    "filter_text",
    metavar="TEXT",
    type=TEXT_OR_STDIN,
    help="""Only points that meet this condition: 'folder == "sea" and bytes > 100000'.""",
)
root_option = click.option(
    "--root", type=FOLDER, metavar="FOLDER", help="Where the indexed folder is now, if it has moved."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
