"""`clipserve-gateway verify`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.options import settings_from
from clipserve_gateway.process.safe_text import safe_json, safe_lines
from clipserve_gateway.triton.parameters import BadModelConfig
from clipserve_gateway.verification.golden import GoldenError, read_golden

if TYPE_CHECKING:
    from clipserve_gateway.verification.checks import Check

MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}


@click.command()
@click.option(
    "--golden",
    "golden_file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Golden file of the model's export, NAME.golden.npz beside the folders NAME_image and NAME_text.",
)
@click.option(
    "--triton",
    metavar="HOST:PORT",
    help="A Triton that serves the model, by its gRPC port (8701 with `up`): its configuration is compared "
    "too, and its tokenizer is used.",
)
@click.option(
    "--triton-headers-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with headers for every call to Triton, one NAME: VALUE a line.",
)
@click.option(
    "--model", metavar="NAME", help="Name of the model in Triton.  [default: that of the golden file]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(
    golden_file: Path,
    triton: str | None,
    triton_headers_file: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Compare this gateway's pixels and token ids with open_clip's.

    The export of a model records in its golden file what open_clip makes of some pictures and texts. The same
    code that serves calls decodes, resizes and tokenizes them here. No gateway and no Triton need to run,
    except for models whose tokenizer travels with them: Triton has it, so name one with --triton.

    The embeddings of a running service are compared by `clipserve verify`. The exit code is 1 if a check
    failed.

    \b
    clipserve-gateway verify --golden build/model_repository/demo.golden.npz
    clipserve-gateway verify --golden siglip.golden.npz --triton 127.0.0.1:8701
    """
    if triton is None and (model or triton_headers_file):
        raise click.UsageError("--model and --triton-headers-file need --triton")
    # Imports gRPC, which other commands must not do before they have set its environment.
    from clipserve_gateway.verification.run import run_checks

    try:
        golden = read_golden(golden_file)
        headers = settings_from({"triton_headers_file": str(triton_headers_file or "")}).triton_headers
        checks = asyncio.run(run_checks(golden, model or golden.model, triton, headers))
    except (GoldenError, BadModelConfig) as error:
        raise click.ClickException(safe_lines(str(error))) from error
    except ClipserveError as error:
        raise click.ClickException(safe_lines(error.logged)) from error
    failed = [check for check in checks if check.status == "failed"]
    if as_json:
        document = {
            "golden": str(golden_file),
            "model": golden.model,
            "ok": not failed,
            "checks": [asdict(check) for check in checks],
        }
        click.echo(safe_json(json.dumps(document, indent=2, ensure_ascii=False)))
    else:
        show(checks, failed)
    if failed:
        raise SystemExit(1)


def show(checks: list[Check], failed: list[Check]) -> None:
    """Prints a line for each check, then what to do about those that failed."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        line = f"{MARKS[check.status]} {check.name.ljust(width)}  {check.detail}"
        click.echo(safe_lines(line).replace("\n", " "))
    for remedy in dict.fromkeys(check.remedy for check in failed):
        click.echo(f"→ {remedy}", err=True)
    if failed:
        click.echo(f"{len(failed)} of {len(checks)} checks failed", err=True)
    else:
        passed = sum(check.status == "passed" for check in checks)
        click.echo(f"all {passed} checks passed")
