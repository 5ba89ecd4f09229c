"""`gearmanny dispatch`: hands over recorded jobs, apart from the workers."""

from __future__ import annotations

import argparse
import logging

from gearmanny.commands.records import add_records, store_of
from gearmanny.commands.servers import add_hosts, tls_of
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.dispatching.process import dispatch
from gearmanny.payload.checks import Rule
from gearmanny.payload.fields import flag_type, options_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = (
        "Hands over the recorded jobs that are due, and those that got lost. Every runner does so, "
        "unless told otherwise; any number of dispatchers work side by side."
    )
    add_records(parser)
    add_hosts(parser)
    for name, described in options_of(DispatchOptions).items():
        assert isinstance(described.rule, Rule)
        default = getattr(DispatchOptions, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=flag_type(described.rule),
            metavar=described.metavar,
            default=default,
            help=f"{described.help} (default: {default:g})",
        )


def run(options: argparse.Namespace) -> None:
    """Runs the command.

    Args:
        options: its arguments.

    Raises:
        InvalidOption: no database is given, or an argument is invalid.
    """
    store = store_of(options, "dispatch")
    logging.getLogger("gearmanny").setLevel(logging.INFO)
    dispatch(
        store,
        options.hosts,
        tls=tls_of(options),
        **{name: getattr(options, name) for name in options_of(DispatchOptions)},
    )
