"""`clipserve verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from clipserve.errors import ModelNotFound
from clipserve.safe_text import quoted
from clipserve.tools.cli.errors import FAILED, Failure
from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.output import progress
from clipserve.tools.cli.stdin import FILE_OR_STDIN, file_of, name_of
from clipserve.tools.cli.terminal import console, error_console, say, table
from clipserve.tools.verification.compare import Check
from clipserve.tools.verification.golden import Golden, GoldenError, read_golden
from clipserve.tools.verification.run import planned
from clipserve.tools.verification.run import verify as checks_of
from clipserve.types import ModelInfo, ServerInfo

MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "dim")}


@dataclass(frozen=True)
class Verified:
    """The checks of one model."""

    model: ModelInfo
    checks: Sequence[Check]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.status == "failed"]


@click.command()
@click.option(
    "--golden",
    "golden_file",
    type=FILE_OR_STDIN,
    metavar="FILE",
    help="Golden file of the model's export, NAME.golden.npz beside the folders NAME_image and NAME_text.",
)
@click.option(
    "--model",
    default="",
    metavar="NAME",
    help="Name of the model.  [default: that of the golden file; without one, every model]",
)
@server_options
def verify(golden_file: Path | None, model: str, server: Server) -> None:
    """Check the embeddings of a running server, after a rollout.

    \b
    Without a golden file, the answers are compared with each other:
      requests   an input alone, in requests of 1 to 8, 11, 13 and 32, in other orders, in a stream
      forms      a picture as file, as array and as Pillow image
      length     raw and normalized embeddings
      texts      those that are longer than the model's context are reported
      labels     cosines and probabilities, by their formulas
    With the golden file of the export, also with open_clip:
      recorded   fingerprint, embeddings of pictures and texts, truncated texts

    Two embeddings are the same if their cosine is at least 0.99999 (fp16: 0.9999; bf16: 0.999). For recorded
    ones 0.9999 is enough (fp16 and bf16: 0.999). Lengths may differ by 2 %.

    The command sends about 600 small inputs for each model, one request at a time and as bulk calls, so it
    may run beside production traffic. It stores nothing. Pixels and token ids are compared where they are
    made, by `clipserve-gateway verify`.

    \b
    Exit codes:
      0  every check passed
      1  a check failed, or the golden file cannot be used
      2  the command line is wrong
      4  the server cannot be reached, is overloaded or is too slow: try again

    \b
    Examples:
      clipserve verify
      clipserve verify --golden build/model_repository/demo.golden.npz
      clipserve verify --golden vit.golden.npz --model vit-canary --target gateway:8600 --json
      ssh builder cat models/demo.golden.npz | clipserve verify --golden -
    """
    golden = None
    if golden_file is not None:
        try:
            with file_of(golden_file) as path:
                golden = read_golden(path)
        except GoldenError as error:
            facts = {"code": "", "reason": "GOLDEN_FILE", "field": "golden", "metadata": {}, "request_id": ""}
            raise Failure(str(error), facts=facts if server.as_json else None) from error
    with server.client(job=True, in_flight=1) as client:
        info = client.info()
        models = chosen(info, model, golden)
        total = planned(golden) * len(models)
        done = 0
        with progress("Verifying", total, show=not server.as_json) as advance:

            def answered(count: int) -> None:
                nonlocal done
                done += count
                advance(done)

            verified = [
                Verified(one, tuple(checks_of(client, info, one, golden, answered))) for one in models
            ]
    server.answer(document(server, verified, golden_file), lambda: show(verified))
    if any(one.failed for one in verified):
        raise SystemExit(FAILED)


def chosen(info: ServerInfo, name: str, golden: Golden | None) -> list[ModelInfo]:
    """The models to check. Raises ModelNotFound."""
    wanted = name or (golden.model if golden else "")
    models = [model for model in info.models if wanted in ("", model.name)]
    if models:
        return models
    if not wanted:
        raise ModelNotFound("the server has no model")
    hint = "" if name else "; the golden file was exported under this name, --model names it as it is served"
    raise ModelNotFound(f"the server has no model {quoted(wanted)}{hint}")


def document(server: Server, verified: Sequence[Verified], golden_file: Path | None) -> dict[str, Any]:
    """The result as a JSON document."""
    return {
        "target": server.target,
        "golden": None if golden_file is None else name_of(golden_file),
        "ok": not any(one.failed for one in verified),
        "models": [
            {
                "model": one.model.name,
                "fingerprint": one.model.ref.fingerprint,
                "precision": one.model.precision,
                "ok": not one.failed,
                "checks": [asdict(check) for check in one.checks],
            }
            for one in verified
        ],
    }


def show(verified: Sequence[Verified]) -> None:
    """Prints a line for each check, then what to do about those that failed."""
    rows = table("model", "", "check", "result")
    for one in verified:
        if rows.row_count:
            rows.add_row()
        for i, check in enumerate(one.checks):
            mark, style = MARKS[check.status]
            name = f"{one.model.name} ({one.model.precision})" if i == 0 else ""
            rows.add_row(Text(name), Text(mark, style), Text(check.name), Text(check.detail))
    console().print(rows)
    failed = [(one.model.name, check) for one in verified for check in one.failed]
    for name, check in failed:
        error_console().print(Text.assemble(("✗ ", "red"), f"{name}: {check.name}: {check.remedy}"))
    total = sum(len(one.checks) for one in verified)
    if failed:
        say(f"{len(failed)} of {total} checks failed", err=True)
    else:
        skipped = sum(check.status == "skipped" for one in verified for check in one.checks)
        say(f"all {total - skipped} checks passed")
