"""The command line of `runworkers`, whose flags are made of the settings."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gearmanny.contrib.django.sections import NAME
from gearmanny.contrib.django.settings import Settings
from gearmanny.payload.checks import Rule
from gearmanny.payload.fields import Option, flag_type, options_of
from gearmanny.running.options import RunnerOptions


def add_flags(parser: ArgumentParser) -> None:
    """Adds what the command takes.

    Args:
        parser: of its command line.
    """
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help="run only the workers of these names (default: all)",
    )
    for flag, text in (
        ("--exclude", "run all workers but those of these names"),
        ("--pool", f"run only the workers of these pools of {NAME}['POOLS']"),
    ):
        parser.add_argument(flag, metavar="NAME[,NAME...]", help=text)
    settings = options_of(Settings)
    parser.add_argument("--hosts", metavar="HOST[,HOST...]", help=_help(settings["HOSTS"], "HOSTS"))
    for name in ("EMBEDDED", "RECYCLE_AFTER_TIMEOUT"):
        parser.add_argument(
            f"--{name.lower().replace('_', '-')}",
            action=BooleanOptionalAction,
            help=_help(settings[name], name),
        )
    for name, option in settings.items():
        _add_flag(parser, name.lower(), option, _help(option, name))
    timeout = options_of(RunnerOptions)["connect_timeout"]
    _add_flag(parser, "connect_timeout", timeout, f"{timeout.help} (default: {timeout.none})")
    parser.add_argument(
        "--no-keepalive",
        action="store_true",
        help=f"do not {_help(settings['KEEPALIVE'], 'KEEPALIVE')}",
    )
    parser.add_argument(
        "--no-dispatch",
        action="store_true",
        help=f"leave it to `manage.py gearmanny dispatch` to "
        f"{options_of(RunnerOptions)['dispatch'].help}",
    )
    parser.add_argument("--once", action="store_true", help="work off the jobs that wait, and stop")
    parser.add_argument(
        "--reload",
        action=BooleanOptionalAction,
        help="start again when code has changed (default: if DEBUG)",
    )
    parser.add_argument(
        "--list", action="store_true", help="print the workers with their functions, and exit"
    )


def overridden(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Returns the settings, of which the command line overrides some.

    Args:
        settings: those of the project.
        options: those of the command line.
    """
    given = {name: options.get(name.lower()) for name in options_of(settings)}
    if given["HOSTS"]:
        given["HOSTS"] = [host.strip() for host in given["HOSTS"].split(",")]
    if options["no_keepalive"]:
        given["KEEPALIVE"] = False
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _help(option: Option, setting: str) -> str:
    return f"{option.help} (default: {NAME}[{setting!r}])"


def _add_flag(parser: ArgumentParser, name: str, option: Option, text: str) -> None:
    if option.metavar and isinstance(option.rule, Rule):
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=flag_type(option.rule),
            metavar=option.metavar,
            help=text.replace("`", ""),
        )
