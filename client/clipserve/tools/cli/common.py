"""What commands do alike."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from clipserve.errors import ClipserveError, ImageUnreadable
from clipserve.filters.conditions import Filter, shown_field
from clipserve.filters.text import parse_filter
from clipserve.inputs.picture_files import PassedOver, find_images
from clipserve.inputs.text_checks import is_path
from clipserve.labels import NAMES, LabelSet, label_set, parse_ref
from clipserve.safe_text import quoted
from clipserve.tools.cli import label_files
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.label_files import LabelFile, read_prompts
from clipserve.tools.cli.listed import Listed, entries, from_commas
from clipserve.tools.cli.stdin import STDIN, name_of, text_of
from clipserve.tools.cli.terminal import say


class ListByDefault(click.Group):
    """A group whose first command is `list`, also where only options are given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `list` in front where no command is named."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def shown(name: str | Path) -> str:
    """A name as it can be printed: bytes of file names that are no UTF-8 become question marks."""
    return str(name).encode(errors="replace").decode()


def expanded(paths: Sequence[Path]) -> tuple[list[Path], PassedOver]:
    """Files as they are, folders as the pictures in them, and what else the folders hold.

    click.UsageError if nothing is left.
    """
    passed_over = PassedOver()
    found = [file for path in paths for file in (find_images(path, passed_over) if path.is_dir() else [path])]
    if paths and not found:
        raise click.UsageError(no_pictures(", ".join(map(shown, paths)), passed_over))
    return found, passed_over


def no_pictures(place: str, passed_over: PassedOver) -> str:
    """That there are none, and what there is instead."""
    there = f" (passed over: {passed_over.words()})" if passed_over else ""
    return f"no pictures found in {place}{there}"


def unread_folders(passed_over: PassedOver, root: Path | None = None) -> list[tuple[str, ClipserveError]]:
    """Folders that could not be read, listed as failed pictures are; their names are relative to `root`."""

    def name(error: OSError) -> str:
        folder = Path(error.filename)
        return shown(f"{(folder.relative_to(root) if root else folder).as_posix()}/")

    return [
        (name(error), ImageUnreadable(f"cannot read this folder: {error.strerror}"))
        for error in passed_over.unread
    ]


def say_passed_over(passed_over: PassedOver) -> None:
    """Says on standard error what was passed over, if anything was."""
    if passed_over:
        say(f"passed over: {passed_over.words()}", err=True)


def given_templates(templates: Sequence[str], file: Path | None) -> Listed:
    """Templates of options, then those of a file; click.UsageError."""
    options = entries(templates, "--template", "template")
    return options + read_prompts(text_of(file), name_of(file)) if file is not None else options


def read_labels(
    labels: Sequence[str], labels_file: Path | None, named: str | None, templates: Sequence[str]
) -> LabelFile | str:
    """Labels from exactly one of the three options, or the name of a stored label set; click.UsageError."""
    options = {"--labels": bool(labels), "--labels-file": labels_file is not None}
    options["--label-set"] = named is not None
    given = [option for option, there in options.items() if there]
    if len(given) > 1:
        raise click.UsageError(f"give only one of {', '.join(given[:-1])} and {given[-1]}")
    if not given:
        raise click.UsageError(
            'say which labels to choose from: --labels "cat,dog", --labels-file FILE or --label-set NAME'
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
        raise click.UsageError(f"--labels {quoted(labels[0])} is a file; read it with --labels-file")
    names = Listed()
    for group in labels:
        if group == str(STDIN):
            names += read_prompts(text_of(STDIN), name_of(STDIN))
        else:
            names += entries(from_commas(group, "--labels"), "--labels", "label", len(names.texts) + 1)
    if not names.texts:
        raise click.UsageError("--labels names no label")
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
    """Failure if it is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise Failure("the command needs pyarrow; install it with: pip install 'clipserve[cli]'")
