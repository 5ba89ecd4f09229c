"""The factory of workers: for the processes of a runner, for eager mode and for tests."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from gearmanny.errors import InvalidTask
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.worker import BaseWorker, JsonWorker
from gearmanny.working.options import WorkerOptions, check_work_class

_INITIALIZE = (
    "Open what the tasks need in setUp() instead; or write def __init__(self, *args, **kwargs) "
    "and call super().__init__(*args, **kwargs)."
)


def work_class_of(kind: type[BaseWorker], options: WorkerOptions) -> type[GearmanWorker]:
    """Returns the class of the `GearmanWorker` that does the work of a worker.

    Args:
        kind: the class of the worker.
        options: say what replaces `JsonWorker`.
    """
    if kind.work_class is JsonWorker and options.default_work_class is not None:
        return options.default_work_class
    return kind.work_class


def check_kinds(workers: object, taker: str) -> tuple[type[BaseWorker], ...]:
    """Returns the worker classes that were given to run.

    Args:
        workers: what was given.
        taker: the name of what it was given to.

    Raises:
        InvalidTask: it is no list of worker classes.
        InvalidOption: the `work_class` of one is none.
    """
    kind = workers if isinstance(workers, type) else type(workers)
    if _is_kind(kind):
        raise InvalidTask(
            f"{taker} takes a list of worker classes. Write {taker}([{kind.__name__}])."
        )
    if isinstance(workers, str) or not isinstance(workers, Iterable):
        raise InvalidTask(f"{taker} takes a list of worker classes, not {workers!r}.")
    kinds = tuple(workers)
    for kind in kinds:
        check_kind(kind)
    return kinds


def check_kind(kind: object) -> None:
    """Checks a worker class that is to be run.

    Args:
        kind: the class.

    Raises:
        InvalidTask: it is no worker class, or an abstract one.
        InvalidOption: its `work_class` is none.
    """
    if isinstance(kind, BaseWorker):
        name = type(kind).__name__
        raise InvalidTask(
            f"{name}() is a worker, but processes make their workers themselves. Give the class, "
            f"{name}; a single worker runs in this process with its start()."
        )
    if not _is_kind(kind):
        raise InvalidTask(
            f"{kind!r} is not a worker class. Derive it from gearmanny.worker.BaseWorker."
        )
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(getattr(kind, "__abstractmethods__", ())))
        raise InvalidTask(
            f"{kind.__name__} is an abstract class: it leaves {missing} to classes that derive "
            "from it. Give one of those."
        )
    check_work_class(f"{kind.__name__}.work_class", kind.work_class)


def _is_kind(kind: object) -> TypeGuard[type[BaseWorker]]:
    return isinstance(kind, type) and issubclass(kind, BaseWorker)


def make_worker(kind: type[BaseWorker], options: WorkerOptions, **arguments: Any) -> BaseWorker:
    """Returns a new worker.

    Args:
        kind: its class.
        options: its hosts, verbosity, hooks, `sync_to_async`, `send_tracebacks`, `work_class` and
            `transaction`, `listener`; the others concern the loop: see `make_workers`.
        arguments: more arguments of the class, which count before the options.

    Raises:
        InvalidTask: a task cannot be exported.
        InvalidOption: the class, or an argument, says what is not allowed.
    """
    if arguments.get("gearman_worker") is None:
        arguments["gearman_worker"] = work_class_of(kind, options)()
    hosts = [str(host) for host in options.hosts] or None
    worker = _made(kind, {"hosts": hosts, "verbosity": options.verbosity, **arguments})
    worker._export_own()
    worker.hooks = (*options.hooks, *worker.hooks)
    if options.sync_to_async is not None:
        worker.sync_to_async = options.sync_to_async
    if options.send_tracebacks is not None:
        worker.send_tracebacks = options.send_tracebacks
    if options.records is not None or options.transaction is not None or options.listener:
        worker.worker_options = replace(
            worker.worker_options,
            records=options.records,
            transaction=options.transaction,
            listener=options.listener,
        )
    return worker


def initializes(kind: type[BaseWorker]) -> bool:
    """Returns whether the `__init__` of a worker class seems to call that of `BaseWorker`: False
    where its code calls no `__init__` at all.

    Args:
        kind: the class.
    """
    if kind.__init__ is BaseWorker.__init__:
        return True
    code = getattr(inspect.unwrap(kind.__init__), "__code__", None)
    return code is None or "__init__" in code.co_names


def _made(kind: type[BaseWorker], arguments: dict[str, Any]) -> BaseWorker:
    try:
        worker = kind(**arguments)
    except TypeError:
        if _takes(kind, arguments):
            raise
        raise InvalidTask(
            f"{kind.__qualname__}.__init__() does not take {', '.join(arguments)}, with which "
            f"every worker is made. {_INITIALIZE}"
        ) from None
    if not hasattr(worker, "worker_options"):
        raise InvalidTask(
            f"{kind.__qualname__}.__init__() does not call super().__init__(), so the worker has "
            f"no tasks. {_INITIALIZE}"
        )
    return worker


def _takes(kind: type[BaseWorker], arguments: dict[str, Any]) -> bool:
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError:
        return False
    return True


def make_workers(kinds: Sequence[type[BaseWorker]], options: WorkerOptions) -> list[BaseWorker]:
    """Returns new workers that share a loop: `start()` of the first one runs all.

    Args:
        kinds: their classes, which have one `work_class`.
        options: those of the workers and of their loop.

    Raises:
        InvalidTask: a task cannot be exported, or two workers export the same function.
        InvalidOption: a class says what is not allowed.
    """
    gearman_worker = work_class_of(kinds[0], options)()
    workers = [make_worker(kind, options, gearman_worker=gearman_worker) for kind in kinds]
    first = workers[0]
    own = first.worker_options
    first.worker_options = replace(
        options.settled(workers), hosts=own.hosts, tls=options.tls or own.tls
    )
    return workers
