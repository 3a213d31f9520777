"""Turns settings into options of commands."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from clipserve_gateway.settings import Settings

Command = Callable[..., None]
S = TypeVar("S", bound=BaseSettings)


class NumberOrNothing(click.ParamType):
    """A whole number, or an empty text that stands for no value."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        return value if value == "" else click.INT.convert(value, param, ctx)


KINDS: dict[object, type] = {bool: bool, int: int, float: float, str: str, SecretStr: str}


def kind_of(annotation: Any) -> click.ParamType | type:
    """The click type of a setting's annotation."""
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    if annotation == int | None:
        return NumberOrNothing()
    # An optional setting has the annotation T | None.
    return KINDS[get_args(annotation)[0] if type(None) in get_args(annotation) else annotation]


def settings_options(
    settings: type[BaseSettings] = Settings, *, without: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Adds one option for each setting, with the name and help text of the setting."""

    def decorate(command: Command) -> Command:
        for name, field in reversed(settings.model_fields.items()):
            if name in without:
                continue
            default = "" if field.default in (None, "") else f"default: {field.default!s}; "
            note = f"{field.description}  [{default}env: CLIPSERVE_{name.upper()}]"
            flag = "--" + name.replace("_", "-")
            if field.annotation is SecretStr:
                command = click.option(flag, name, hidden=True, callback=refuse_secret)(command)
                continue
            option = click.option(flag, name, type=kind_of(field.annotation), default=None, help=note)
            command = option(command)
        return command

    return decorate


def refuse_secret(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    """Ends the command if a secret is on its command line. The message does not repeat the value."""
    if value is not None:
        raise click.UsageError(
            f"{option.opts[0]} is visible to other users in the list of processes; set "
            f"CLIPSERVE_{str(option.name).upper()}, or use {option.opts[0]}-file"
        )


def settings_from(options: dict[str, Any]) -> Settings:
    """The settings of the gateway; see read."""
    return read(Settings, options)


def read(settings: type[S], options: dict[str, Any]) -> S:
    """Settings from options, else the environment, else defaults. A bad value ends the command."""
    try:
        return settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()]
        raise click.UsageError("bad setting: " + "; ".join(problems)) from error
