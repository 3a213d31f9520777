"""The command `clipserve-gateway`: `serve` and `guard` for production, `up` for one machine."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

import clipserve_gateway
from clipserve_gateway.backup.command import backup, restore
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.local.model_export import (
    DEFAULT_REPOSITORY,
    model_options,
    order_of,
    repository_for,
)
from clipserve_gateway.local.settings import LocalSettings, LocalTritonSettings
from clipserve_gateway.options import read, settings_from, settings_options
from clipserve_gateway.process import logs
from clipserve_gateway.process.blas import use_one_blas_thread
from clipserve_gateway.process.file_modes import create_private_files
from clipserve_gateway.process.memory import use_few_arenas
from clipserve_gateway.process.proxies import except_this_machine
from clipserve_gateway.settings import Settings, change_environment, host_environment
from clipserve_gateway.store.command import store
from clipserve_gateway.verification.command import verify

OLDEST_PYTHON = (3, 11)


def check_python(version: tuple[int, int]) -> None:
    """Ends the command if this Python is too old for the gateway's libraries."""
    if version < OLDEST_PYTHON:
        oldest, this = ".".join(map(str, OLDEST_PYTHON)), ".".join(map(str, version))
        raise click.ClickException(
            f"the gateway needs Python {oldest} or newer, and this is Python {this}; install "
            "clipserve[gateway] with a newer one (the SDK runs on 3.10)"
        )


def write_secret(path: Path, secret: str) -> None:
    """Writes the secret to a new file with mode 0600. Ends the command if it cannot."""
    try:
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secret + "\n")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written ({error.strerror})") from error


def prepare_process(log_level: str) -> None:
    """Sets up logs, file modes, memory and threads of a process that serves."""
    logs.configure(log_level)
    create_private_files()
    use_few_arenas()
    use_one_blas_thread()


@click.group(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.version_option(clipserve_gateway.__version__, prog_name="clipserve-gateway")
def main() -> None:
    """CLIP over gRPC and HTTP: classification, embeddings and search with models in Triton."""
    check_python(sys.version_info[:2])
    except_this_machine()
    # The command prints its own errors. gRPC reads this when it is imported.
    if "GRPC_VERBOSITY" not in host_environment():
        change_environment(GRPC_VERBOSITY="NONE")


@main.command()
@settings_options()
def serve(**options: Any) -> None:
    """Start the gateway; Triton runs elsewhere.

    The gateway starts and takes calls even if Triton does not answer, and connects again without a restart
    when Triton comes back. SIGTERM drains calls and stops the gateway.

    \b
    clipserve-gateway serve --triton triton.models.svc:8001 --host 0.0.0.0
    """
    from clipserve_gateway.lifecycle import serve_until_signal

    settings = settings_from(options)
    prepare_process(settings.log_level)
    sys.exit(asyncio.run(serve_until_signal(settings)))


@main.command()
@settings_options(GuardSettings)
def guard(**options: Any) -> None:
    """Watch one Triton and check the answers of its models.

    It runs beside that Triton and compares answers with those that the exports recorded. /readyz and /healthz
    are the probes of Triton's container: the first fails while callers must not be sent to Triton, the second
    when Triton must be restarted. /alive fails if the guard itself hangs; /metrics is for Prometheus.

    \b
    clipserve-gateway guard --triton 127.0.0.1:8001 --host 0.0.0.0
    """
    from clipserve_gateway.guard.serve import guard_until_signal

    settings = read(GuardSettings, options)
    logs.configure(settings.log_level)
    sys.exit(asyncio.run(guard_until_signal(settings)))


@main.command()
@click.option("--name", default="client", show_default=True, help="Name of the token, for logs.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the token to this new file.")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
def token(name: str, out: Path | None, options: tuple[str, ...]) -> None:
    """Create a token.

    Prints the line for the token file on standard output and the token itself on standard error. The line
    holds only the SHA-256 of the token. By default a token allows everything; the options methods=,
    collections=, labels=, models=, rate=, burst=, calls=, streams= and expires= restrict it, see
    docs/security.md.

    \b
    clipserve-gateway token --name web --out web.token methods=read collections='shop_*' >> tokens
    """
    from clipserve_gateway.access.tokens import BadTokenFile, line_of, new_token

    secret = new_token()
    try:
        line = line_of(name, secret, options)
    except BadTokenFile as error:
        raise click.UsageError(str(error)) from error
    if out is None:
        click.echo(f"The token of {name}, shown only once: {secret}", err=True)
    else:
        write_secret(out, secret)
    click.echo(line)


@main.command()
@model_options
@click.option(
    "--model-repository",
    type=click.Path(path_type=Path),
    help="Model repository from `clipserve-export --format python`.  "
    f"[default: {DEFAULT_REPOSITORY}; with --model a folder below the data folder]",
)
@click.option(
    "--models-env",
    type=click.Path(path_type=Path),
    default=Path(".venv-models"),
    show_default=True,
    help="Virtual environment with nvidia-pytriton and torch.",
)
@click.option(
    "--triton-log",
    type=click.Path(path_type=Path),
    help="Log file of Triton.  [default: triton.log in the data folder]",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Tritons to start. All but the first use free ports, and log files with .1, .2 … after the name.",
)
@click.option(
    "--trust-model-repository",
    is_flag=True,
    help="Also serve models that other users of this machine can change. Triton runs models as programs.",
)
@settings_options(LocalTritonSettings)
@settings_options(LocalSettings, without=("triton",))
@settings_options(GuardSettings, without=Settings.model_fields)
def up(
    model_repository: Path | None,
    models_env: Path,
    triton_log: Path | None,
    replicas: int,
    trust_model_repository: bool,
    **options: Any,
) -> None:
    """Start Triton and the gateway on this machine.

    It is the real Triton, without a container. Triton is restarted when it exits, and when its answers are
    wrong or missing for longer than --restart-after-seconds. Ctrl-C or SIGTERM stops both.

    \b
    clipserve-gateway up --model ViT-B-32 --pretrained laion2b_s34b_b79k
    clipserve-gateway up --model ViT-B-32 --pretrained ./weights.safetensors --port 9000
    clipserve-gateway up --model-repository build/model_repository
    """
    from clipserve_gateway.local.command import TritonPorts
    from clipserve_gateway.local.up import run_up

    order = order_of(options)
    local = read(LocalTritonSettings, options)
    settings = read(LocalSettings, options)
    wanted = [TritonPorts(local.triton_port, local.triton_http_port, local.triton_metrics_port)]
    wanted += [TritonPorts(0, 0, 0)] * (replicas - 1)
    guarding = read(GuardSettings, options)
    repository = repository_for(model_repository, settings.data, order)
    # The log line of each call would hide the lines for the user; INFO shows it.
    prepare_process(settings.log_level if "log_level" in settings.model_fields_set else "WARNING")
    running = run_up(
        *(settings, guarding, repository, models_env, wanted, triton_log),
        trust_repository=trust_model_repository,
        order=order,
    )
    sys.exit(asyncio.run(running))


main.add_command(store)
main.add_command(backup)
main.add_command(restore)
main.add_command(verify)
