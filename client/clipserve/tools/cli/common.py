"""Helpers that several commands share."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from clipserve.errors import ClipserveError, ImageUnreadable
from clipserve.filters.conditions import Filter, shown_field
from clipserve.filters.text import parse_filter
from clipserve.inputs.text_checks import is_path
from clipserve.labels import NAMES, LabelSet, label_set, parse_ref
from clipserve.safe_text import quoted
from clipserve.tools.cli import label_files
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.label_files import LabelFile, read_prompts
from clipserve.tools.cli.listed import Listed, entries, from_commas
from clipserve.tools.cli.stdin import STDIN, name_of, text_of
from clipserve.tools.cli.terminal import say
from clipserve.tools.indexing.facts import printable
from clipserve.tools.picture_files import PassedOver, find_images


class ListByDefault(click.Group):
    """A group that runs `list` if no command is named, also if only options are given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def expanded(paths: Sequence[Path]) -> tuple[list[Path], PassedOver]:
    """The given files, the pictures in the given folders, and an account of the files that were skipped.

    Raises click.UsageError if there are no pictures.
    """
    skipped = PassedOver()
    files = [file for path in paths for file in (find_images(path, skipped) if path.is_dir() else [path])]
    if paths and not files:
        raise click.UsageError(no_pictures(", ".join(map(printable, paths)), skipped))
    return files, skipped


def no_pictures(place: str, skipped: PassedOver) -> str:
    """The error text for folders without pictures; it tells what else they hold."""
    return f"no pictures found in {place}" + (f" (skipped: {skipped.words()})" if skipped else "")


def unread_folders(skipped: PassedOver, root: Path | None = None) -> list[tuple[str, ClipserveError]]:
    """Name, relative to `root`, and error of each folder that could not be read."""
    failed: list[tuple[str, ClipserveError]] = []
    for error in skipped.unread:
        folder = Path(error.filename)
        name = printable(f"{(folder.relative_to(root) if root else folder).as_posix()}/")
        failed.append((name, ImageUnreadable(f"cannot read this folder: {error.strerror}")))
    return failed


def say_skipped(skipped: PassedOver) -> None:
    """Tells on standard error which files were skipped, if any."""
    if skipped:
        say(f"skipped: {skipped.words()}", err=True)


def given_templates(templates: Sequence[str], file: Path | None) -> Listed:
    """The templates of --template, then those of the file. Raises click.UsageError."""
    options = entries(templates, "--template", "template")
    return options + read_prompts(text_of(file), name_of(file)) if file is not None else options


def read_labels(
    labels: Sequence[str], labels_file: Path | None, named: str | None, templates: Sequence[str]
) -> LabelFile | str:
    """The labels of one of the three options, or the name of a stored label set. Raises click.UsageError."""
    options = {"--labels": labels or None, "--labels-file": labels_file, "--label-set": named}
    given = [option for option, value in options.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"give only one of {', '.join(given[:-1])} and {given[-1]}")
    if not given:
        raise click.UsageError(
            'there are no labels; give --labels "cat,dog", --labels-file FILE or --label-set NAME'
        )
    prompts = given_templates(templates, None)
    if named in NAMES:
        shipped = label_set(named)
        return LabelFile(shipped, entries(shipped.names, named, "label")).with_templates(prompts)
    if named is not None:
        try:
            parse_ref(named)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--label-set") from None
        return named
    if labels_file is not None:
        return label_files.read(text_of(labels_file), name_of(labels_file)).with_templates(prompts)
    if tuple(labels) == (str(STDIN),):
        return label_files.read(text_of(STDIN), name_of(STDIN)).with_templates(prompts)
    if len(labels) == 1 and is_path(labels[0]):
        raise click.UsageError(f"--labels {quoted(labels[0])} is a file; give it with --labels-file")
    names = Listed()
    for group in labels:
        if group == str(STDIN):
            names += read_prompts(text_of(STDIN), name_of(STDIN))
        else:
            names += entries(from_commas(group, "--labels"), "--labels", "label", len(names.texts) + 1)
    if not names.texts:
        raise click.UsageError("--labels is empty; write at least one label")
    names.check_distinct()
    return LabelFile(LabelSet(names.texts), names).with_templates(prompts)


def read_filter(text: str | None, schema: Mapping[str, str], option: str = "--filter") -> Filter | None:
    """The condition that `text` states, with values of the schema's types. Raises click.BadParameter."""
    if text is None:
        return None
    try:
        return parse_filter(text, schema)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


WHERE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(!=|>=|<=|=|>|<)\s*(.*)", re.DOTALL)
TRUTHS = {"yes": "true", "1": "true", "no": "false", "0": "false"}


def filter_of_where(conditions: Sequence[str], schema: Mapping[str, str]) -> str:
    """The text of --filter that means the same as these values of the deprecated --where."""
    texts = []
    for condition in conditions:
        match = WHERE.fullmatch(condition)
        if match is None:
            raise click.BadParameter(
                f"{quoted(condition)} is not FIELD=VALUE; use --filter instead", param_hint="--where"
            )
        field, sign, value = match.groups()
        kind = schema.get(field)
        if kind == "bool":
            value = value.strip().lower()
            value = TRUTHS.get(value, value)
        elif kind not in ("int", "double"):
            value = repr(value)
        texts.append(f"{shown_field(field)} {'==' if sign == '=' else sign} {value}")
    return " and ".join(texts)


def need_pyarrow() -> None:
    """Raises Failure if pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise Failure("the command needs pyarrow; install it with: pip install 'clipserve[cli]'")
