"""`clipserve labels`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from clipserve.labels import NAMES, ONLY_MEASURED, parse_ref
from clipserve.tools.cli import label_files
from clipserve.tools.cli.common import ListByDefault, given_templates
from clipserve.tools.cli.label_warnings import show_warnings, use_label_file
from clipserve.tools.cli.options import Server, server_options, template_option, yes_option
from clipserve.tools.cli.output import print_json
from clipserve.tools.cli.stdin import FILE_OR_STDIN, name_of, text_of
from clipserve.tools.cli.terminal import confirm, console, say, table
from clipserve.types import LabelSetInfo


@click.group(cls=ListByDefault)
def labels() -> None:
    """Store named label sets on the server.

    The server encodes a stored label set once. Each change adds a version; older versions stay until you
    remove them. NAME means the latest version, NAME@3 the third.

    \b
    Examples:
      clipserve labels
      clipserve labels put birds birds.txt -t "a photo of a {}, a type of bird."
      clipserve classify photos/ --label-set birds
      clipserve labels get birds > birds.json
      clipserve labels rm birds@1
    """


@labels.command()
@click.argument("name")
@click.argument("file", type=FILE_OR_STDIN)
@template_option
@click.option(
    "--templates", "templates_file", type=FILE_OR_STDIN, help="File with one prompt template a line."
)
@server_options
def put(
    name: str,
    file: Path,
    templates: tuple[str, ...],
    templates_file: Path | None,
    server: Server,
) -> None:
    """Store the labels of FILE under NAME; - is standard input.

    FILE has one label a line, or is JSON. Empty lines and comments (# and a space) are ignored. A label may
    be quoted, for example if it begins with a # and a space. `classify --labels-file` reads the same files.
    Templates given as options replace those of the file.

    \b
      {"names": ["cat", "dog"],
       "templates": ["a photo of a {}."],
       "thresholds": [0.22, 0.24],
       "none_of_the_above": {"name": "something else", "threshold": 0.2}}

    Only names is required. `classify` marks a label ✓ if its cosine is at least its threshold. The score of
    none_of_the_above comes from words that are far from the labels, or from its own "prompts".

    \b
    Examples:
      clipserve labels put birds birds.txt --templates prompts.txt
      printf 'cat\\ndog\\n' | clipserve labels put pets -
      clipserve labels put pets pets.json
    """
    if name in (*NAMES, *ONLY_MEASURED):
        raise click.BadParameter(
            f"{name} is the name of a label set that comes with this command; choose another name, for "
            f"example my-{name}",
            param_hint="NAME",
        )
    given = label_files.read(text_of(file), name_of(file))
    labels = use_label_file(
        given.with_templates(given_templates(templates, templates_file)), tell=not server.as_json
    )
    with server.client() as client:
        info, created = client.put_label_set(name, labels)
    if server.as_json:
        told = [dataclasses.asdict(warning) for warning in info.warnings]
        print_json({"created": created, **facts(info), "warnings": told})
        return
    show_warnings(info.warnings)
    if created:
        say(f"stored {name}@{info.version}: {info.label_count:,} labels × {info.template_count} templates")
    else:
        say(f"{name}@{info.version} has the same labels already; nothing was stored")


@labels.command()
@click.argument("name", metavar="NAME[@VERSION]")
@server_options
def get(name: str, server: Server) -> None:
    """Print a label set as JSON that `put` reads.

    With --json, the document also has its version and other facts.

    \b
    Examples:
      clipserve labels get birds > birds.json
      clipserve labels get birds@2 --json
    """
    with server.client() as client:
        stored = client.get_label_set(*reference(name))
    known = label_files.document(stored.labels)
    print_json({**known, label_files.INFO_KEY: facts(stored.info)} if server.as_json else known)


@labels.command("list")
@server_options
def list_labels(server: Server) -> None:
    """List the latest version of each label set."""
    with server.client() as client:
        label_sets = client.list_label_sets()
    server.answer({"label_sets": [facts(info) for info in label_sets]}, lambda: show(label_sets))


@labels.command()
@click.argument("name", metavar="NAME[@VERSION]")
@yes_option
@server_options
def rm(name: str, yes: bool, server: Server) -> None:
    """Remove a label set with all its versions, or one version of it.

    \b
    Examples:
      clipserve labels rm birds@1
      clipserve labels rm birds --yes
    """
    ref = reference(name)
    with server.client() as client:
        info = client.get_label_set(*ref).info
        what = name if ref[1] else f"{name} with its {len(info.versions)} versions"
        if not yes:
            confirm(f"Remove {what} for good?", abort=True)
        deleted = client.delete_label_set(*ref)
    server.answer(
        {"name": name, "deleted": deleted}, f"removed {name} ({deleted} version{'s' * (deleted != 1)})"
    )


def reference(text: str) -> tuple[str, int]:
    """Name and version. Raises click.BadParameter."""
    try:
        return parse_ref(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None


def facts(info: LabelSetInfo) -> dict[str, Any]:
    known = dataclasses.asdict(info)
    del known["warnings"]  # only the answer to a put has them
    return known | {"create_time": info.create_time.isoformat()}


def show(label_sets: Sequence[LabelSetInfo]) -> None:
    if not label_sets:
        say("no label sets; `clipserve labels put NAME FILE` stores one")
        return
    rows = table(
        "label set", ("version", "right"), ("labels", "right"), ("templates", "right"), "none of them", "put"
    )
    for info in label_sets:
        rows.add_row(
            Text(info.name),
            f"{info.version}" + (f" of {len(info.versions)}" if len(info.versions) > 1 else ""),
            f"{info.label_count:,}",
            f"{info.template_count}",
            "yes" if info.none_of_the_above else "–",
            f"{info.create_time:%Y-%m-%d %H:%M}",
        )
    console().print(rows)
