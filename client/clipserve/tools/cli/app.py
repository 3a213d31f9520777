"""The group of commands."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from clipserve._version import __version__
from clipserve.errors import ClipserveError, InputWarning, LabelsWarning
from clipserve.inputs.text_encoding import NotText, not_utf8
from clipserve.safe_text import one_line, shortened
from clipserve.tools.cli.classify import classify
from clipserve.tools.cli.collections import collections
from clipserve.tools.cli.dedupe import dedupe
from clipserve.tools.cli.delete import delete
from clipserve.tools.cli.embed import embed
from clipserve.tools.cli.errors import EXIT_CODES, INTERRUPTED, Failure, failure
from clipserve.tools.cli.evaluate import evaluate
from clipserve.tools.cli.export import export
from clipserve.tools.cli.import_ import import_
from clipserve.tools.cli.index import index
from clipserve.tools.cli.info import info
from clipserve.tools.cli.labels import labels
from clipserve.tools.cli.listed import PLACES, with_places
from clipserve.tools.cli.migrate import migrate
from clipserve.tools.cli.options import SERVER, hidden_server_options, keep_for_commands
from clipserve.tools.cli.search import search
from clipserve.tools.cli.terminal import escaping, say
from clipserve.tools.cli.verify import verify
from clipserve.tools.evaluation.dataset import DatasetError


class Commands(click.Group):
    """Prints errors as one sentence and ends with their exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Runs the command and escapes everything that it prints."""
        with escaping(), telling_warnings():
            return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with exit_130_after_ctrl_c(), short_usage_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with exit_130_after_ctrl_c(), short_usage_errors():
                return super().invoke(ctx)
        except ClipserveError as error:
            server, places = ctx.meta[SERVER], ctx.meta.get(PLACES, {})
            raise failure(error, server.target, server.as_json, places=places) from error
        except NotText as error:
            raise usage(str(error), ctx) from error
        except UnicodeEncodeError as error:
            if error.encoding != "utf-8":
                raise
            raise usage(str(not_utf8(error)), ctx) from error
        except DatasetError as error:
            raise Failure(str(error)) from error
        except BrokenPipeError:
            raise  # the reader of the output, `head` for example, has closed it
        except OSError as error:
            name = Path(error.filename).as_posix() if isinstance(error.filename, str) else ""
            raise Failure(f"{name}: {error.strerror or error}" if name else str(error)) from error


def usage(message: str, ctx: click.Context) -> click.UsageError:
    """The usage error for a text that cannot be sent; it names the line or option of the text."""
    return click.UsageError(one_line(shortened(with_places(message, ctx.meta.get(PLACES, {})))), ctx)


@contextlib.contextmanager
def exit_130_after_ctrl_c() -> Iterator[None]:
    """Ends the command without a traceback. Click alone would exit with 1, as after a failure."""
    try:
        yield
    except KeyboardInterrupt:
        say("Aborted!", err=True)
        raise SystemExit(INTERRUPTED) from None


@contextlib.contextmanager
def short_usage_errors() -> Iterator[None]:
    """Shortens the values that click quotes in its errors and writes each error on one line."""
    try:
        yield
    except click.UsageError as error:
        error.message = one_line(shortened(error.message))  # type: ignore[misc]  # final, for click's reasons
        raise


@contextlib.contextmanager
def telling_warnings() -> Iterator[None]:
    """Prints warnings of the SDK as sentences. Commands print those about labels themselves, with lines."""

    def tell(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, InputWarning):
            ctx = click.get_current_context(silent=True)
            say(f"Warning: {with_places(str(message), ctx.meta.get(PLACES, {}) if ctx else {})}", err=True)
        else:
            before(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        before = warnings.showwarning
        warnings.simplefilter("always", InputWarning)
        warnings.simplefilter("ignore", LabelsWarning)
        warnings.showwarning = tell
        yield


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, "--version", message="clipserve %(version)s")
@hidden_server_options
def main(**given: Any) -> None:
    """Classify, embed and search pictures with a CLIP model behind a clipserve gateway.

    \b
    Start here:
      clipserve info
      clipserve classify cat.jpg --labels "cat,dog,bird"
      clipserve index ~/Pictures -c holiday
      clipserve search "a dog playing in the snow" -c holiday -k 5 --sheet hits.png

    Every command has --help with examples, and --json for machine-readable output. Name the gateway with
    --target, before or after the command, or with CLIPSERVE_TARGET. Where a command takes a file, a text or
    a list, - means standard input.
    """
    keep_for_commands(click.get_current_context(), given)


for command in (info, classify, embed, index, search, collections, evaluate):
    main.add_command(command)
for command in (labels, delete, dedupe, export, import_, migrate, verify):
    main.add_command(command)
