"""The command `jobs` of every command line: shows records, and does to them what is asked."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import COUNT, DAYS
from gearmanny.payload.counts import number_of
from gearmanny.payload.fields import flag_type
from gearmanny.records.described import decoded, described, lines_about
from gearmanny.records.ids import canonical
from gearmanny.records.listing import Listed, Wanted
from gearmanny.records.states import ENDED, State
from gearmanny.records.values import Snapshot

OK = 0
FAILED = 1
"""Exit codes. Wrong arguments exit with 2, as in every command that uses argparse."""

_DAY = 86400.0

_BATCH = 500
"""Records that are forgotten at a time."""

_DONE = {"retry": "queued again", "cancel": "cancelled", "delete": "deleted"}

_EPILOG = """
The exit code is 0; 1 if one of the jobs that were named is not there, or cannot be changed so, or
if one that was to be deleted runs; 2 if the command line is wrong.
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
        "--limit",
        type=flag_type(COUNT),
        default=50,
        metavar="N",
        help="jobs at most (default: %(default)s)",
    )
    shown = verbs.add_parser("show", help="show all that is known of jobs")
    shown.add_argument("ids", type=_id, nargs="+", metavar="ID", help="id of a record")
    for verb, text in (
        ("retry", "queue failed jobs again"),
        ("cancel", "cancel jobs that wait, and interrupt those that run"),
        ("delete", "delete records, and all that is known of their jobs"),
    ):
        each = verbs.add_parser(verb, help=text)
        each.add_argument("ids", type=_id, nargs="*", metavar="ID", help="id of a record")
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
        "--days",
        type=flag_type(DAYS),
        required=True,
        metavar="DAYS",
        help="days since they ended, at least",
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
        type=_pair,
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
        InvalidOption: an argument is wrong, or no record can have what is looked for.
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
            console.write(json.dumps(described(job, console.mask)))
        else:
            console.write(
                f"{job.id}  {job.state:9}  {job.created:%Y-%m-%d %H:%M:%S}  {job.function}"
            )
    return OK


def _show(options: Mapping[str, Any], console: Console) -> int:
    code = OK
    for id in options["ids"]:
        job = console.store.look(id)
        if job is None:
            console.write(_missing(id, options))
            code = FAILED
            continue
        if options["json"]:
            console.write(json.dumps(described(job, console.mask)))
        else:
            for line in lines_about(job, console.mask):
                console.write(line)
            console.write("")
    return code


def _change(verb: str, options: Mapping[str, Any], console: Console) -> int:
    named = options["ids"]
    has_filter = any(options[name] for name in ("function", "state", "key", "arguments"))
    if bool(named) + bool(has_filter) + options["all"] != 1:
        raise InvalidOption(
            f"Say which jobs to {verb}: by their ids, by --function, --state, --key or --argument, "
            "or with --all."
        )
    if verb == "retry" and not options["state"]:
        options = {**options, "state": State.FAILED}  # there may be a million others
    ids = iter(named) if named else (job.id for job in _wanted(options, console.store))
    done, problems = 0, []
    change = {"retry": _retry, "cancel": _cancel, "delete": _delete}[verb]
    for id in ids:
        problem = change(console.store, id)
        if problem is None:
            done += 1
        elif named or not problem.is_of_course:
            problems.append(problem.text)
            if not options["json"]:
                console.write(problem.text)
    if options["json"]:
        console.write(json.dumps({"verb": verb, "jobs": done, "problems": problems}))
    else:
        console.write(f"{number_of(done, 'job')} {_DONE[verb]}")
    return FAILED if problems else OK


class _Problem(NamedTuple):
    """The reason why something was not done to a job."""

    text: str
    is_of_course: bool = True
    """Whether it matters only where the job was named: of many that a filter finds, not all have
    failed, or still wait."""


def _retry(store: Listed, id: str) -> _Problem | None:
    try:
        if store.revive(id):
            return None
    except InvalidOption as error:
        return _Problem(str(error), is_of_course=False)
    return _problem(store, id, "only a failed job can be queued again")


def _cancel(store: Listed, id: str) -> _Problem | None:
    state = store.cancel(id)
    if state in (State.CANCELLED, State.RUNNING):
        return None
    return _problem(store, id, "it has ended")


def _delete(store: Listed, id: str) -> _Problem | None:
    if store.delete([id]):
        return None
    return _problem(store, id, "cancel it before you delete it", is_of_course=False)


def _problem(store: Listed, id: str, reason: str, *, is_of_course: bool = True) -> _Problem:
    job = store.look(id)
    if job is None:
        return _Problem(f"{id}: no such job")
    return _Problem(f"{id} is {job.state}: {reason}", is_of_course)


def _missing(id: str, options: Mapping[str, Any]) -> str:
    return json.dumps({"id": id, "state": None}) if options["json"] else f"{id}: no such job"


def _prune(options: Mapping[str, Any], console: Console) -> int:
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
    arguments = options["arguments"]
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
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    return name, value


def _id(text: str) -> str:
    try:
        return canonical(text)
    except InvalidOption as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _has(job: Snapshot, arguments: Sequence[tuple[str, str]]) -> bool:
    if not arguments:
        return True
    given = decoded(job.arguments)
    if not isinstance(given, dict):
        return False
    return all(
        name in given and value in (given[name], json.dumps(given[name], ensure_ascii=False))
        for name, value in arguments
    )
