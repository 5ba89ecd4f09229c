"""An overview as text: tables that fit into the width of a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from gearmanny.commands.overview import Overview, Records, Row, Server
from gearmanny.errors import printable
from gearmanny.protocol.versions import traps_of
from gearmanny.records.values import Process

_MARK = "!"
"""Stands before functions that are abandoned."""

_RED, _RESET = "\033[31m", "\033[0m"

_NARROWEST = 12
"""Columns that a name has at least."""


def tables(
    overview: Overview, now: datetime, *, width: int | None, color: bool = False
) -> Iterator[str]:
    """Yields the lines of an overview.

    Args:
        overview: what is known.
        now: the current time.
        width: columns of the terminal; None to cut nothing.
        color: whether what is wrong is red.
    """
    for server in overview.servers:
        yield from _server(server, color=color)
    yield ""
    if not overview.rows:
        yield "No functions."
    else:
        yield from _functions(overview.rows, width, color=color)
    if overview.records is not None:
        yield from _records(overview.records, overview.rows, now, width, color=color)


def traps(servers: Sequence[Server], width: int | None) -> Iterator[str]:
    """Yields lines about the known traps of the versions that some job servers have.

    Args:
        servers: them.
        width: columns of the terminal; None to break no line.
    """
    for version in dict.fromkeys(server.version for server in servers if server.version):
        found = traps_of(version)
        if found:
            yield ""
            yield f"Known traps of gearmand {printable(version)}:"
        for trap in found:
            line = f"  trap {trap.name}: {trap.text} {trap.advice}"
            yield from (
                [line]
                if width is None
                else textwrap.wrap(
                    line, max(width, _NARROWEST), subsequent_indent="    ", break_on_hyphens=False
                )
            )


def age(seconds: float) -> str:
    """Returns a time span in its largest unit, such as `"7m"`.

    Args:
        seconds: its length.
    """
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def _server(server: Server, *, color: bool) -> Iterator[str]:
    if server.error:
        yield _red(f"{server.host}: {server.error}", color)
        return
    yield f"{server.host}: {printable(server.version)}"


def _functions(rows: Sequence[Row], width: int | None, *, color: bool) -> Iterator[str]:
    yield from _table(
        ("FUNCTION", "WAITING", "RUNNING", "WORKERS"),
        [(_marked(row), str(row.waiting), str(row.running), str(row.workers)) for row in rows],
        [row.abandoned for row in rows],
        width,
        color=color,
    )
    if any(row.abandoned for row in rows):
        yield f"{_MARK} no worker offers it"


def _records(
    records: Records, rows: Sequence[Row], now: datetime, width: int | None, *, color: bool
) -> Iterator[str]:
    yield ""
    if records.error:
        yield _red(f"records: {records.error}", color)
        return
    counted = {count.function for count in records.counts}
    recorded = [row for row in rows if row.function in counted]
    if not recorded:
        yield "No recorded jobs."
    else:
        yield from _recorded(recorded, width, color=color)
    if records.processes:
        yield ""
        yield from _processes(records.processes, now, width)


def _recorded(rows: Sequence[Row], width: int | None, *, color: bool) -> Iterator[str]:
    return _table(
        ("RECORDS OF", "RECORDED", "SCHEDULED", "FAILED", "OLDEST"),
        [
            (
                _marked(row),
                *(str(number) for number in (row.recorded, row.scheduled, row.failed)),
                age(row.oldest) if row.oldest else "",
            )
            for row in rows
        ],
        [row.abandoned for row in rows],
        width,
        color=color,
    )


def _processes(processes: Sequence[Process], now: datetime, width: int | None) -> Iterator[str]:
    return _table(
        ("PROCESS", "POOL", "UP"),
        [
            (
                "  " + printable(each.client_id or f"{each.pid}@{each.host}"),
                printable(each.pool),
                age((now - each.started).total_seconds()),
            )
            for each in processes
        ],
        [False] * len(processes),
        width,
        color=False,
    )


def _table(
    heads: Sequence[str],
    cells: Sequence[Sequence[str]],
    reds: Sequence[bool],
    width: int | None,
    *,
    color: bool,
) -> Iterator[str]:
    """Yields the lines of a table: names at the left, and the rest at the right of its columns."""
    heads = (f"  {heads[0]}", *heads[1:])
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    if width is not None:
        rest = sum(2 + each for each in widths[1:])
        widths[0] = min(widths[0], max(width - rest, _NARROWEST))
    for line, is_red in zip([heads, *cells], [False, *reds], strict=True):
        name = _cut(line[0], widths[0]).ljust(widths[0])
        rest_of_line = "".join(
            f"  {cell:>{each}}" for cell, each in zip(line[1:], widths[1:], strict=True)
        )
        yield _red(f"{name}{rest_of_line}".rstrip(), color and is_red)


def _marked(row: Row) -> str:
    return f"{_MARK if row.abandoned else ' '} {printable(row.function)}"


def _cut(name: str, width: int) -> str:
    """Returns a name without its middle, if it is too long: both ends tell names apart."""
    if len(name) <= width:
        return name
    kept = width - 1
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def _red(line: str, is_red: bool) -> str:
    return f"{_RED}{line}{_RESET}" if is_red else line
