"""The command `call` of every command line: calls a function, and prints what it returns."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gearmanny.client import AsyncClient, Progress, Warning, WorkResult
from gearmanny.commands import OK, complain, write
from gearmanny.commands.arguments import arguments_of, pair_of
from gearmanny.commands.bar import Bar
from gearmanny.commands.records import add_records, given_store
from gearmanny.commands.servers import add_hosts, tls_of
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.payload.checks import WAIT
from gearmanny.payload.fields import flag_type
from gearmanny.payload.names import check_function_name

_EPILOG = """
A VALUE is JSON where it is valid JSON, and else text: n=5 is a number, and day=2026-01-01 is text,
as is n='"5"'. The result is printed as JSON. The exit code is 0; 1 if the call failed, and stderr
says why; 2 if the command line is wrong.
"""


class Console(NamedTuple):
    """What the command has to do with."""

    client: AsyncClient
    has_records: bool
    """Whether the client records background jobs."""
    write: Callable[[str], object]
    """Writes a line."""
    complain: Callable[[str], object]
    """Writes a line to stderr."""


def add_call(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that every command line has.

    Args:
        parser: that of the command.
    """
    parser.epilog = _EPILOG
    parser.add_argument(
        "function", type=_function, metavar="FUNCTION", help="its name, such as orders_nightly"
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        type=_pair,
        metavar="NAME=VALUE",
        help="an argument of the task",
    )
    parser.add_argument(
        "--arguments",
        dest="given",
        metavar="JSON",
        help="more of them, or all, as a JSON object; - reads it from stdin",
    )
    parser.add_argument(
        "--background",
        action="store_true",
        help="do not wait for the job: print its unique id, and the id of its record if it has one",
    )
    parser.add_argument(
        "--progress",
        action="store_true",
        help="show on stderr how far it is; with --background, wait for a recorded job",
    )
    parser.add_argument(
        "--timeout",
        type=flag_type(WAIT),
        metavar="SECONDS",
        help="seconds to wait for the result (default: as long as it takes)",
    )
    _let_arguments_follow_options(parser)


def _let_arguments_follow_options(parser: argparse.ArgumentParser) -> None:
    """Lets NAME=VALUE stand behind options as well, where argparse looks for no more of them."""
    parse = parser.parse_known_args

    def parse_all(args: Any = None, namespace: Any = None) -> Any:
        parsed, left = parse(args, namespace)
        try:
            while left and not left[0].startswith("-"):
                parsed.arguments.append(pair_of(left.pop(0)))
        except InvalidOption as error:
            parser.error(str(error))
        return parsed, left

    parser.parse_known_args = parse_all  # type: ignore[method-assign]


def run_call(options: Mapping[str, Any], console: Console) -> int:
    """Does what the arguments say.

    Args:
        options: the arguments, parsed.
        console: with what.

    Returns:
        The exit code.

    Raises:
        InvalidOption: an argument is wrong.
        GearmanException: the call failed.
    """
    given = sys.stdin.read() if options["given"] == "-" else options["given"]
    arguments = arguments_of(options["arguments"], given)
    timeout, background = options["timeout"], options["background"]
    if background and options["progress"] and not console.has_records:
        raise InvalidOption(
            "--progress cannot be combined with --background: a job server tells nobody of "
            "background jobs. With a database of records, it can."
        )
    client = console.client.using(timeout=timeout, background=background)
    work = client.submit(options["function"], **arguments)
    if background and not options["progress"]:
        if work.id is None:
            work.get_result(timeout)  # until the job server has accepted it
        console.write(json.dumps({"unique": work.unique, "id": work.id}))
        return OK
    _follow(work, console, timeout, shows_progress=options["progress"])
    console.write(json.dumps(work.get_result(timeout), ensure_ascii=False))
    return OK


def _follow(
    work: WorkResult, console: Console, timeout: float | None, *, shows_progress: bool
) -> None:
    """Waits for the end of a job, and shows what its worker says before that."""
    bar = Bar(sys.stderr)
    try:
        for update in work.updates(timeout):
            if isinstance(update, Progress):
                if shows_progress:
                    bar.show(update)
            elif isinstance(update, Warning):
                bar.end()
                console.complain(f"warning: {json.dumps(update.value, ensure_ascii=False)}")
    finally:
        bar.end()


def _function(text: str) -> str:
    try:
        check_function_name(text)
    except InvalidTask as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _pair(text: str) -> tuple[str, Any]:
    try:
        return pair_of(text)
    except InvalidOption as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = "Calls a function, and prints what it returns as JSON."
    add_hosts(parser)
    add_call(parser)
    add_records(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the command.

    Args:
        options: its arguments.

    Returns:
        The exit code.

    Raises:
        InvalidOption: an argument is wrong.
        GearmanException: the call failed.
    """
    with (
        given_store(options) as store,
        AsyncClient(options.hosts, records=store, tls=tls_of(options)) as client,
    ):
        console = Console(client, store is not None, write, complain)
        return run_call(vars(options), console)
