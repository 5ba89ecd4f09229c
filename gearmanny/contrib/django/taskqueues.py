"""The queues of Django's tasks, each of which is a Gearman function."""

from __future__ import annotations

from typing import Any

from gearmanny.errors import InvalidTask
from gearmanny.payload.names import check_function_name

PREFIX = "tasks_"
"""The beginning of the Gearman function of a queue."""


class OnGearman:
    """The base of the backends whose queues `runworkers` serves."""

    queues: set[str]
    options: dict[str, Any]


def queue_of(function: str) -> str | None:
    """Returns the name of the queue of a Gearman function; None when it is another function.

    Args:
        function: the function.
    """
    return function.removeprefix(PREFIX) if function.startswith(PREFIX) else None


def problem_of_queue(queue: object) -> str:
    """Returns why no Gearman function can be named after a queue; an empty text if one can.

    Args:
        queue: its name.
    """
    if not isinstance(queue, str):
        return f"The name of a queue must be a string, not {queue!r}."
    if queue == "help":
        return f"{PREFIX}help() is the function that describes the queues. Choose another name."
    try:
        check_function_name(PREFIX + queue)
    except InvalidTask as error:
        return str(error)
    return ""
