"""The command line: `gearmanny`. Only the modules of the command that is run are loaded."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gearmanny import __version__
from gearmanny.commands import FAILED, INTERRUPTED, OK, WRONG, complain
from gearmanny.errors import GearmanException, InvalidOption
from gearmanny.logs import escape_unprintable


class Command(Protocol):
    """A module of `gearmanny.commands`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the arguments of the command."""

    def run(self, options: argparse.Namespace) -> int | None:
        """Runs the command, and returns the exit code; None for `OK`."""


def _server() -> Command:
    from gearmanny.commands import server  # noqa: PLC0415

    return server


def _dispatch() -> Command:
    from gearmanny.commands import dispatch  # noqa: PLC0415

    return dispatch


def _jobs() -> Command:
    from gearmanny.commands import jobs  # noqa: PLC0415

    return jobs


def _status() -> Command:
    from gearmanny.commands import status  # noqa: PLC0415

    return status


def _call() -> Command:
    from gearmanny.commands import call  # noqa: PLC0415

    return call


def _cache() -> Command:
    from gearmanny.commands import cache  # noqa: PLC0415

    return cache


def _health() -> Command:
    from gearmanny.commands import health  # noqa: PLC0415

    return health


class _Entry(NamedTuple):
    help: str
    load: Callable[[], Command]


_COMMANDS = {
    "server": _Entry("run a job server for development and tests", _server),
    "status": _Entry("show what job servers say of themselves", _status),
    "call": _Entry("call a function, and print what it returns", _call),
    "jobs": _Entry("show and change recorded jobs", _jobs),
    "dispatch": _Entry("hand over recorded jobs, apart from the workers", _dispatch),
    "cache": _Entry("show and clear the cached answers in MongoDB", _cache),
    "health": _Entry("say whether a runner is healthy", _health),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: its arguments; None for those of the command line.

    Returns:
        The exit code.

    Raises:
        SystemExit: the arguments are wrong, or ask for help.
    """
    escape_unprintable()
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="gearmanny", description="Gearman, from the command line."
    )
    parser.add_argument("--version", action="version", version=f"gearmanny {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parsers = {name: commands.add_parser(name, help=each.help) for name, each in _COMMANDS.items()}
    name = arguments[0] if arguments else ""
    if name in _COMMANDS:
        command = _COMMANDS[name].load()
        command.add_arguments(parsers[name])
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code = command.run(options)
    except InvalidOption as error:
        complain(str(error))
        return WRONG
    except GearmanException as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK if code is None else code
