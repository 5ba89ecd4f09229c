"""Typed calls: a class with tasks is the interface through which they are called.

Names cannot be computed in Python's type system, so what a type checker knows of a call is what it
knows of the method: a method that `@task` decorates is called by its own name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

from gearmanny.errors import InvalidOption
from gearmanny.tasks.finding import find_tasks
from gearmanny.tasks.joining import key_of
from gearmanny.tasks.options import TASK_PREFIX, task
from gearmanny.tasks.spec import TaskSpec

__all__ = ["AioRemote", "Interface", "Remote", "task"]

W = TypeVar("W", bound="Interface")
W_co = TypeVar("W_co", bound="Interface", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")
Work = TypeVar("Work")
Work_co = TypeVar("Work_co", covariant=True)


class ReturnsAnswers(Protocol):
    """A client whose calls return what the task returned, such as `SimpleClient`."""

    _returns: ClassVar[Literal["answers"]]

    def call(self, function: str, /, **kwargs: Any) -> Any: ...


class ReturnsWork(Protocol[Work_co]):
    """A client whose calls return work objects, such as `AsyncClient`."""

    _returns: ClassVar[Literal["work"]]

    def call(self, function: str, /, **kwargs: Any) -> Work_co: ...


class ReturnsAwaitables(Protocol):
    """A client whose calls are awaited for what the task returned, such as `AioClient`."""

    _returns: ClassVar[Literal["awaitables"]]

    def call(self, function: str, /, **kwargs: Any) -> Coroutine[Any, Any, Any]: ...


class Interface:
    """A name and tasks, through which a worker can be called. The tasks need no bodies. Every
    worker class is one; subclass this where the worker itself is not at hand.

    Class attributes:
        name: the first part of the name of every function, as the worker has it. Required.
    """

    name: ClassVar[str]

    @overload
    @classmethod
    def using(cls, client: ReturnsAnswers) -> Self: ...

    @overload
    @classmethod
    def using(cls, client: ReturnsWork[Work]) -> Remote[Self, Work]: ...

    @overload
    @classmethod
    def using(cls, client: ReturnsAwaitables) -> AioRemote[Self]: ...

    @classmethod
    def using(cls, client: Any) -> Any:
        """Returns the tasks of this class, to be called over a client: no code of it runs here.

        The arguments of a call are checked against the task before anything is sent; those with
        a default may be left out, and the worker adds them. Calls raise `InvalidArguments`, and
        the errors of the client's calls.

        Args:
            client: sends the calls. Over a `SimpleClient`, `MyWorker.using(client).add(a=1, b=2)`
                is what `add` returns; over an `AsyncClient` it is a `WorkResult`, and so is
                `MyWorker.using(client)(MyWorker.add, a=1, b=2)`, which type checkers can check.
                Over an `AioClient`, both are awaited, for what `add` returns.

        Raises:
            InvalidTask: the class has no usable name, or a task cannot be called.
            InvalidOption: the object is not a client, or it is a client of background jobs other
                than an `AsyncClient`, whose calls do not return what the tasks do; or the tasks
                take a payload.
        """
        _check_client(client)
        return Remote(cls, client)


class Remote(Generic[W, Work]):
    """The tasks of a class, called over a client. It is no instance of the class.

    Called with one of them and its arguments, it calls that one: it returns a `WorkResult`, and a
    type checker knows names and types of the arguments.
    """

    __slots__ = ("_client", "_interface")

    def __init__(self, interface: type, client: Any) -> None:
        self._interface = interface
        self._client = client
        tasks = _tasks_of(interface)  # so that errors in the class are raised here
        if any(spec.payload is not None for spec in tasks.values()):
            raise InvalidOption(
                f"The tasks of {interface.__name__} take a payload instead of keywords. Call them "
                "by the names of their functions, over a RawClient."
            )

    def __call__(
        self, task: Callable[Concatenate[W, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Work:
        bases = self._interface.__mro__  # a method of a base stands for its override
        for spec in _tasks_of(self._interface).values():
            if any(getattr(base, spec.method, None) == task for base in bases):
                work: Work = self._caller(spec)(*args, **kwargs)
                return work
        raise InvalidOption(
            f"{task!r} is not a task of {self._interface.__name__}. {self._offer()}"
        )

    def __getattr__(self, name: str) -> Callable[..., Work]:
        # Copy, pickle and debuggers look for underscored names, also before there are tasks.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        spec = _tasks_of(self._interface).get(name)
        if spec is None:
            raise AttributeError(
                f"{self._interface.__name__} has no task {name!r}. {self._offer()}",
                name=name,
                obj=self,
            )
        return self._caller(spec)

    def __dir__(self) -> list[str]:
        return list(_tasks_of(self._interface))

    def __repr__(self) -> str:
        return f"<{self._interface.__name__} over {self._client!r}>"

    def _caller(self, spec: TaskSpec) -> Callable[..., Any]:
        client = self._client

        def call(*args: Any, **kwargs: Any) -> Any:
            arguments = spec.bind_arguments(args, kwargs)
            return _joining(client, spec, arguments).call(spec.function, **arguments)

        call.alters_data = True  # type: ignore[attr-defined]  # no function of Django's templates
        call.__name__ = spec.method
        call.__qualname__ = f"{self._interface.__name__}.{spec.method}"
        call.__module__ = self._interface.__module__
        call.__doc__ = spec.description
        call.__signature__ = spec.signature  # type: ignore[attr-defined]
        return call

    def _offer(self) -> str:
        names = ", ".join(spec.method for spec in find_tasks(self._interface))
        return f"It has {names}." if names else "It has none."


class AioRemote(Protocol[W_co]):
    """The type of a `Remote` over an `AioClient`: calls are awaited, for the result of the task."""

    @overload
    def __call__(
        self,
        task: Callable[Concatenate[W_co, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, R]: ...

    @overload
    def __call__(
        self, task: Callable[Concatenate[W_co, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]: ...


@functools.lru_cache(maxsize=256)
def _tasks_of(interface: type) -> dict[str, TaskSpec]:
    """The tasks by the names under which they are called: those of their methods, and what comes
    after `task_` where the class has nothing else of that name."""
    tasks = {spec.method: spec for spec in find_tasks(interface)}
    short = {method.removeprefix(TASK_PREFIX): spec for method, spec in tasks.items()}
    return tasks | {name: spec for name, spec in short.items() if not hasattr(interface, name)}


def _joining(client: Any, spec: TaskSpec, arguments: dict[str, Any]) -> Any:
    """Returns a client whose call is one job with equal ones, where the task is cached."""
    options = getattr(client, "_options", None)  # what stands for a client shows none: no traces
    has_its_own = options is not None and (options.unique is not None or options.trace)
    if not spec.options.cached or has_its_own or not hasattr(client, "using"):
        return client
    key = key_of(spec.function, spec.signature, arguments)
    return client if key is None else client.using(unique=key)


def _check_client(client: object) -> None:
    # Looked up in the class: an instance may stand for a client that cannot be made yet.
    kind = type(client)
    if not hasattr(kind, "call") and not hasattr(kind, "__getattr__"):
        raise InvalidOption(
            f"using() must be given a client, such as SimpleClient(), not {client!r}."
        )
    returned = getattr(kind, "_returns", None)
    if returned not in (None, "work") and client._options.background:  # type: ignore[attr-defined]
        raise InvalidOption(
            "Background calls do not return what their tasks do. Give using() an AsyncClient for "
            "them, AsyncClient(…).using(background=True), and it returns work objects."
        )
