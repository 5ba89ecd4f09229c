"""The decorator `task` of Django's Tasks, which is taken for ours, and ours for it."""

from __future__ import annotations

from typing import Any, NoReturn

from gearmanny.errors import InvalidTask

_PACKAGES = ("django", "django_tasks")


def check_no_task_of_django(worker: type, attribute: str) -> None:
    """Checks that an attribute of a worker class is not a task of Django's.

    Args:
        worker: the class.
        attribute: the name of the attribute.

    Raises:
        InvalidTask: it is one.
    """
    kind = type(getattr(worker, attribute))
    homes = {base.__module__.partition(".")[0] for base in kind.__mro__}
    if homes.intersection(_PACKAGES) and hasattr(kind, "aenqueue"):
        raise InvalidTask(
            f"{worker.__name__}.{attribute} is decorated by the task of Django's Tasks, which is "
            "for functions of modules. For methods of workers: from gearmanny.worker import task."
        )


def refuse_enqueue(function: Any) -> None:
    """Lets a function that our decorator has marked say what is wrong when it is enqueued as a task
    of Django's.

    Args:
        function: the function.
    """

    def enqueue(*args: object, **kwargs: object) -> NoReturn:
        raise InvalidTask(
            f"{function.__name__}() is decorated by gearmanny.worker.task, which is for methods of "
            "workers: call it as a task of its worker. For a function that is enqueued: "
            "from django.tasks import task."
        )

    function.enqueue = function.aenqueue = enqueue
