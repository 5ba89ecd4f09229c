"""The answer of a task is computed again by a background job: inside its hooks and its time limit,
by any worker that is free."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from gearmanny.helpers.keys import Arguments

_DIGITS = 40
"""Of a key, in the unique id of a job: it may have 61 bytes."""


def is_refresh(owner: object, key: str) -> bool:
    """Returns whether the job that runs here is to compute an answer again.

    Args:
        owner: the object of a method.
        key: of the answer.
    """
    job = _job_of(owner)
    return job is not None and str(getattr(job, "unique", "")).endswith(_unique(key))


def submission(
    function: Callable[..., Any], owner: object, arguments: Arguments, key: str
) -> Callable[[], None] | None:
    """Returns a function that submits a background job, once for all processes; None where the
    method is not called in a job, or is not a task.

    Args:
        function: the method, as it was decorated.
        owner: its object.
        arguments: of the call.
        key: of the answer.
    """
    worker: Any = owner
    keywords = arguments.keywords()
    if _job_of(owner) is None or keywords is None:
        return None
    from gearmanny.client import AsyncClient  # noqa: PLC0415  a worker needs it here alone
    from gearmanny.tasks.finding import find_tasks  # noqa: PLC0415

    specs = [
        spec
        for spec in find_tasks(type(worker), worker.gearman_worker)
        if spec.payload is None and _is_made_of(getattr(type(worker), spec.method), function)
    ]
    if not specs:
        return None

    def submit() -> None:
        with AsyncClient(
            [str(host) for host in worker.hosts],
            data_encoder=worker.gearman_worker.data_encoder,
            tls=worker.worker_options.tls,
        ) as client:
            calls = client.using(background=True, unique=_unique(key))
            calls.call(specs[0].function, **keywords)

    return submit


def _unique(key: str) -> str:
    return f"refresh-{key[:_DIGITS]}"


def _job_of(owner: object) -> object:
    # Where nobody has imported workers, there is none.
    workers: Any = sys.modules.get("gearmanny.worker")
    if workers is None or not isinstance(owner, workers.BaseWorker):
        return None
    try:
        return owner.job
    except RuntimeError:
        return None


def _is_made_of(method: Any, function: Callable[..., Any]) -> bool:
    while method is not None and method is not function:
        method = getattr(method, "__wrapped__", None)
    return method is function
