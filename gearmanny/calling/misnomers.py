"""Names that look like methods of a client, because other libraries have them, and that are taken
neither for methods nor for functions of the job server."""

from __future__ import annotations

_BACKGROUND = "For a job in the background, write client.using(background=True).<function>(…)"
_WORK = "Work objects have it: those of client.submit(…), and of the calls of an AsyncClient"
_STATUS = "Ask a work object, work.status(), or client.status(unique)"
_MANY = "For many calls, write client.map(function, arguments)"
_SEVERAL = "AsyncClient.wait(works) and AsyncClient.as_completed(works) wait for several"

_OPTIONS = (
    "timeout", "background", "priority", "unique", "at", "delay", "idempotent", "on_update",
    "trace", "recorded", "unique_waiting", "headers",
)  # fmt: skip

_WORDS = {
    _BACKGROUND: (
        "apply_async", "defer", "delay", "dispatch", "do_background", "enqueue", "push", "queue",
        "send", "send_async", "send_task", "spawn",
    ),
    "For a call by name, write client.call(function, …)": ("apply", "do", "execute", "invoke"),
    "For a work object, write client.submit(function, …)": ("submit_job",),
    _WORK: ("cancel", "exception", "get_result", "is_done", "progress", "result", "updates"),
    _STATUS: ("get_job_status", "job_status", "get_status"),
    _MANY: ("submit_multiple_jobs", "starmap", "imap"),
    _SEVERAL: ("as_completed", "gather", "wait", "wait_until_jobs_completed"),
    "Connections are made on the first call": ("connect", "ping"),
    "Hosts are an argument of the class": ("hosts", "add_server", "add_servers"),
}  # fmt: skip

INSTEAD = {
    **{name: f"It is an option: write client.using({name}=…)" for name in _OPTIONS},
    **{name: advice for advice, names in _WORDS.items() for name in names if name != "delay"},
    "delay": f"{_BACKGROUND}; to let one wait, client.using(background=True, delay=seconds)",
}
"""The right way to write it, by name."""


_TAKE_FUNCTIONS = ("call", "map", "stream", "submit")
"""Methods of clients whose first argument is a function."""


def no_such_attribute(function: str, name: str) -> str:
    """Returns the text of the error for an attribute that Gearman functions do not have.

    Args:
        function: the name of the function.
        name: the attribute.
    """
    text = f"the Gearman function {function} of a client has no attribute {name!r}"
    if name in _TAKE_FUNCTIONS:
        return f"{text}. Write client.{name}({function!r}, …)."
    if name == "using":
        return f"{text}. Write client.using(…).{function}(…)."
    if name in INSTEAD:
        return f"{text}. {INSTEAD[name].replace('<function>', function)}."
    return text


def no_such_method(kind: str, name: str) -> str:
    """Returns the text of the error for a method that clients do not have.

    Args:
        kind: the name of the class.
        name: the method; one of `INSTEAD`.
    """
    return (
        f"{kind!r} object has no attribute {name!r}. {INSTEAD[name]}. For a Gearman function that "
        f"is named so, write client.call({name!r}, …)."
    )
