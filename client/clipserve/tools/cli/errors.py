"""Errors as one sentence that tells what to do next, with an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import IO, Any

import click

from clipserve import errors
from clipserve.errors import ClipserveError
from clipserve.safe_text import json_text, shortened
from clipserve.tools.cli.listed import Place, with_places
from clipserve.tools.cli.terminal import say
from clipserve.transport.channel import target_uri
from clipserve.transport.unary_call import describe_target

FAILED = 1
ITEMS_FAILED = 3
TRY_AGAIN = 4
INTERRUPTED = 130
"""As of a process that SIGINT ended."""

EXIT_CODES = """\b
Exit codes:
  0  done
  1  the server refused the request or failed, or a file cannot be used
  2  the command line is wrong
  3  done, but some pictures, texts or rows failed; they are listed
  4  the server cannot be reached, is overloaded or is too slow: try again
  130  stopped by Ctrl-C
"""

HINTS: dict[type[ClipserveError], str] = {
    errors.ModelNotFound: "`clipserve info` lists the models",
    errors.CollectionNotFound: "`clipserve collections` lists the collections, "
    "`clipserve index FOLDER -c NAME` creates one",
    errors.CollectionExists: "choose another name, or remove the collection with `clipserve collections rm`",
    errors.CollectionHasAliases: "`clipserve collections aliases` lists the aliases; point each to another "
    "collection with `clipserve collections alias`, or remove it with `clipserve collections unalias`",
    errors.AliasNotFound: "`clipserve collections aliases` lists the aliases",
    errors.LabelSetNotFound: "`clipserve labels` lists the label sets, `clipserve labels put NAME FILE` "
    "stores one; cifar10 and imagenet1k come with this command",
    errors.PointNotFound: "`clipserve search --json` shows the ids of points",
    errors.MigrationConflict: "`clipserve migrate COLLECTION --status` shows the state of the migration",
    errors.Conflict: "try again",
    errors.StorageUnavailable: "wait until the index engine answers",
    errors.FingerprintMismatch: "if the collection's model was replaced, embed its points again with "
    "`clipserve migrate COLLECTION --to-model NAME`; embeddings that you send must come from the "
    "collection's own model",
    errors.ModelUnavailable: "wait until the model is loaded; `clipserve info` shows when it is ready",
    errors.Overloaded: "try again later",
    errors.RateLimited: "wait, or use a token with a higher rate",
    errors.DeadlineExceeded: "allow more time with --timeout",
    errors.Unauthenticated: "pass a token with --token-file, --token, or CLIPSERVE_TOKEN",
    errors.PermissionDenied: "use a token that is allowed to do this",
    errors.InternalError: "see the server's log",
    errors.Unimplemented: "check that the target is a clipserve gateway at least as new as this client",
}


CAUSES = {
    "NO_TLS": "leave out --tls, --ca, --cert and --server-name, and unset their variables (CLIPSERVE_TLS …)",
    "TLS": "see --tls and --ca",
    "NOT_TRUSTED": "see --ca",
    "WRONG_NAME": "see --target and --server-name",
    "CERTIFICATE_REQUIRED": "see --cert and --key",
    "BAD_CERTIFICATE": "see --ca, --cert and --key",
    "EXPIRED": "the server's operator must renew it",
}
"""The options to check, by the cause for which a server cannot be reached."""
START = "start one with `clipserve-gateway up`, or name another with --target or CLIPSERVE_TARGET"


class Failure(click.ClickException):
    """An error as the command prints it."""

    def __init__(self, message: str, exit_code: int = FAILED, facts: dict[str, Any] | None = None) -> None:
        super().__init__(shortened(message))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance
        self.facts = facts

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints one line on stderr, or a JSON document if --json was given."""
        if self.facts is not None:
            click.echo(json_text({"error": {"message": self.message, **self.facts}}), file=file, err=True)
        else:
            say(f"Error: {self.message}", err=True)


def failure(
    error: ClipserveError,
    target: str,
    as_json: bool,
    *,
    places: Mapping[str, Sequence[Place]] = MappingProxyType({}),
) -> Failure:
    """The failure for an error of the SDK; `places` tells where labels and templates come from."""
    facts = {
        "code": error.code,
        "reason": error.reason,
        "field": error.field,
        "metadata": dict(error.metadata),
        "request_id": error.request_id,
    }
    code = (
        TRY_AGAIN
        if error.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED")
        else FAILED
    )
    if isinstance(error, errors.ResourceExhausted) and error.retry_after is None:
        code = FAILED
    message = with_places(sentence(error, target), places)
    return Failure(message, code, facts if as_json else None)


def sentence(error: ClipserveError, target: str) -> str:
    """The error and what to do about it, as one sentence."""
    if isinstance(error, errors.Unavailable) and not error.reason:
        why = error.message.partition(": ")[2] or error.message
        hint = CAUSES.get(error.metadata.get("cause", ""), START)
        return f"no server answers at {describe_target(target_uri(target))}: {why}; {hint}"
    hint = next((HINTS[kind] for kind in type(error).__mro__ if kind in HINTS), "")
    return f"{error}; {hint}" if hint else str(error)
