"""The command `jobs` of every command line: shows records, and does to them what is asked."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gearmanny.errors import InvalidOption
from gearmanny.payload.counts import number_of
from gearmanny.payload.masking import masked
from gearmanny.records.ids import canonical
from gearmanny.records.listing import Listed, Wanted
from gearmanny.records.states import ENDED, State
from gearmanny.records.values import Payload, Snapshot

OK = 0
FAILED = 1
"""Exit codes. Wrong arguments exit with 2, as in every command that uses argparse."""

_DAY = 86400.0

_BATCH = 500
"""Records that are deleted or forgotten at a time."""

_DONE = {"retry": "queued again", "cancel": "cancelled", "delete": "deleted"}

_EPILOG = """
The exit code is 0; 1 if one of the jobs that were named is not there, or cannot be changed so; 2 if
the command line is wrong.
"""


class Console(NamedTuple):
    """What the command has to do with."""

    store: Listed
    write: Callable[[str], object]
    """Writes a line."""
    mask: Sequence[str]
    """Names whose values are masked."""


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Adds the verbs of the command.

    Args:
        parser: that of the command.
    """
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(required=True, metavar="verb", dest="verb")
    listed = verbs.add_parser("list", help="show jobs, the newest first")
    _add_filters(listed)
    listed.add_argument(
        "--limit", type=int, default=50, metavar="N", help="jobs at most (default: %(default)s)"
    )
    shown = verbs.add_parser("show", help="show all that is known of jobs")
    shown.add_argument("ids", nargs="+", metavar="ID", help="id of a record")
    for verb, text in (
        ("retry", "queue failed jobs again"),
        ("cancel", "cancel jobs that wait, and interrupt those that run"),
        ("delete", "delete records, and all that is known of their jobs"),
    ):
        each = verbs.add_parser(verb, help=text)
        each.add_argument("ids", nargs="*", metavar="ID", help="id of a record")
        _add_filters(each)
        each.add_argument("--all", action="store_true", help="all of them")
    pruned = verbs.add_parser("prune", help="delete the records of jobs that ended long ago")
    pruned.add_argument(
        "--state",
        action="append",
        choices=list(map(str, ENDED)),
        help="how they ended; may be repeated (default: in any way)",
    )
    pruned.add_argument(
        "--days", type=float, required=True, metavar="DAYS", help="days since they ended, at least"
    )
    for each in verbs.choices.values():
        each.add_argument("--json", action="store_true", help="write one JSON object a line")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--function", metavar="NAME", help="only jobs of this function")
    parser.add_argument("--state", choices=list(map(str, State)), help="only jobs in this state")
    parser.add_argument("--key", help="only jobs with this unique or unique_waiting")
    parser.add_argument(
        "--argument",
        dest="arguments",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only jobs with this argument; may be repeated",
    )


def run_jobs(options: Mapping[str, Any], console: Console) -> int:
    """Does what the arguments say.

    Args:
        options: the arguments, parsed.
        console: with what.

    Returns:
        The exit code.

    Raises:
        InvalidOption: an argument is wrong.
        StoreUnavailable: the database cannot be reached.
    """
    verb = options["verb"]
    if verb in ("list", "show"):
        try:
            return (_list if verb == "list" else _show)(options, console)
        except BrokenPipeError:  # whoever read has seen enough, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
    if verb == "prune":
        return _prune(options, console)
    return _change(verb, options, console)


def _list(options: Mapping[str, Any], console: Console) -> int:
    left = options["limit"]
    for job in _wanted(options, console.store):
        if left <= 0:
            break
        left -= 1
        if options["json"]:
            console.write(json.dumps(_described(job, console.mask)))
        else:
            console.write(
                f"{job.id}  {job.state:9}  {job.created:%Y-%m-%d %H:%M:%S}  {job.function}"
            )
    return OK


def _show(options: Mapping[str, Any], console: Console) -> int:
    code = OK
    for id in map(canonical, options["ids"]):
        job = console.store.look(id)
        if job is None:
            console.write(_missing(id, options))
            code = FAILED
            continue
        described = _described(job, console.mask)
        if options["json"]:
            console.write(json.dumps(described))
        else:
            for name, value in described.items():
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                console.write(f"{name:15} {text}")
            console.write("")
    return code


def _change(verb: str, options: Mapping[str, Any], console: Console) -> int:
    named = [canonical(id) for id in options["ids"]]
    has_filter = any(options[name] for name in ("function", "state", "key", "arguments"))
    if bool(named) + bool(has_filter) + options["all"] != 1:
        raise InvalidOption(
            f"Say which jobs to {verb}: by their ids, by --function, --state, --key or --argument, "
            "or with --all."
        )
    ids = iter(named) if named else (job.id for job in _wanted(options, console.store))
    done, problems = 0, []
    change = {"retry": _retry, "cancel": _cancel, "delete": _delete}[verb]
    for id in ids:
        problem = change(console.store, id)
        if not problem:
            done += 1
        elif named:
            problems.append(problem)
            if not options["json"]:
                console.write(problem)
    if options["json"]:
        console.write(json.dumps({"verb": verb, "jobs": done, "problems": problems}))
    else:
        console.write(f"{done} jobs {_DONE[verb]}")
    return FAILED if problems else OK


def _retry(store: Listed, id: str) -> str:
    try:
        if store.revive(id):
            return ""
    except InvalidOption as error:
        return str(error)
    return _problem(store, id, "only a failed job can be queued again")


def _cancel(store: Listed, id: str) -> str:
    state = store.cancel(id)
    if state in (State.CANCELLED, State.RUNNING):
        return ""
    return _problem(store, id, "it has ended")


def _delete(store: Listed, id: str) -> str:
    return "" if store.delete([id]) else _problem(store, id, "cancel it before you delete it")


def _problem(store: Listed, id: str, reason: str) -> str:
    job = store.look(id)
    return f"{id}: no such job" if job is None else f"{id} is {job.state}: {reason}"


def _missing(id: str, options: Mapping[str, Any]) -> str:
    return json.dumps({"id": id, "state": None}) if options["json"] else f"{id}: no such job"


def _prune(options: Mapping[str, Any], console: Console) -> int:
    if options["days"] < 0:
        raise InvalidOption(f"--days must be 0 or more, not {options['days']:g}.")
    count = 0
    for state in map(State, options["state"] or ENDED):
        while batch := console.store.prune(state, options["days"] * _DAY, _BATCH):
            count += batch
    if options["json"]:
        console.write(json.dumps({"verb": "prune", "jobs": count, "problems": []}))
    else:
        console.write(f"{number_of(count, 'job')} deleted")
    return OK


def _wanted(options: Mapping[str, Any], store: Listed) -> Iterator[Snapshot]:
    arguments = [_pair(text) for text in options["arguments"]]
    state = options["state"]
    wanted = Wanted(options["function"], None if state is None else State(state), options["key"])
    after: str | None = None
    while True:
        page = store.page(wanted, after)
        for id in page.ids:
            job = store.look(id)
            if job is not None and _has(job, arguments):
                yield job
        after = page.after
        if after is None:
            return


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidOption(f"--argument must be NAME=VALUE, not {text!r}.")
    return name, value


def _has(job: Snapshot, arguments: Sequence[tuple[str, str]]) -> bool:
    if not arguments:
        return True
    given = _decoded(job.arguments)
    if not isinstance(given, dict):
        return False
    return all(
        name in given and value in (given[name], json.dumps(given[name], ensure_ascii=False))
        for name, value in arguments
    )


def _described(job: Snapshot, mask: Sequence[str]) -> dict[str, Any]:
    described = job._asdict()
    for name in ("arguments", "result", "error"):
        described[name] = masked(_decoded(described[name]), mask)
    described["errors"] = [_decoded(line) for line in job.errors]
    for name in ("created", "due", "started", "finished"):
        moment = described[name]
        described[name] = None if moment is None else moment.isoformat()
    return described


def _decoded(payload: Payload | None) -> Any:
    if payload is None:
        return None
    if isinstance(payload, bytes):
        return f"{len(payload)} bytes"
    try:
        return json.loads(payload)
    except ValueError:
        return payload
