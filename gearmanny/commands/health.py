"""`gearmanny health`: whether a runner is healthy. It loads nothing else of ours, to be quick."""

from __future__ import annotations

import argparse
import os

from gearmanny.commands import FAILED, OK, write
from gearmanny.running.healthfile import read

_ENVIRONMENT = "GEARMANNY_HEALTH_FILE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = (
        "Says whether a runner is alive, by the file that it keeps up to date: see health_file of "
        "WorkRunner, and `runworkers --health-file`. A runner whose job servers are away is alive."
    )
    parser.epilog = (
        "The exit code is 0 if it is, and 1 if it is not: the line that is printed says why."
    )
    given = os.environ.get(_ENVIRONMENT)
    parser.add_argument(
        "file",
        nargs="?" if given else None,
        default=given,
        metavar="FILE",
        help=f"the health file of the runner (default: that of the environment, {_ENVIRONMENT})",
    )
    parser.add_argument(
        "--ready",
        action="store_true",
        help="whether it also serves: all processes have started, and a job server answers them",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command.

    Args:
        options: its arguments.

    Returns:
        The exit code.
    """
    finding = read(options.file, ready=options.ready)
    wanted = "ready" if options.ready else "alive"
    write(f"{wanted if finding.healthy else f'not {wanted}'}: {finding.text}")
    return OK if finding.healthy else FAILED
