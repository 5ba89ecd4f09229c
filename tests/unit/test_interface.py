"""`using(client)`: what a class offers to its callers, and what is refused before it is sent."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
from typing import Any

import pytest

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidArguments, InvalidOption, InvalidTask
from gearmanny.interface import Interface, Remote
from gearmanny.worker import BaseWorker, task


class MyWorker(BaseWorker):
    name = "myworker"

    def __init__(self) -> None:
        raise AssertionError("a caller makes no worker")

    @task
    def add(self, a: int, b: int = 0) -> int:
        """Adds A and B together"""
        raise AssertionError("a caller runs no task")

    def task_echo(self, text: str) -> str:
        return text

    def task_start(self) -> None: ...


CLIENT = SimpleClient(["127.0.0.1:1"])
"""Reaches nobody: what is told instead was told before anything was sent."""


@pytest.fixture
def worker() -> Any:
    return MyWorker.using(CLIENT)


def test_wrong_arguments_are_refused_without_a_job_server(worker: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"myworker_add\(\) got unexpected argument: 'c'"):
        worker.add(a=1, c=2)
    with pytest.raises(TypeError, match=r"missing required argument: 'text'. It takes text\."):
        worker.task_echo()
    with pytest.raises(InvalidArguments, match="missing required argument: 'a'"):
        MyWorker.using(AsyncClient(["127.0.0.1:1"]))(MyWorker.add)  # type: ignore[call-arg]


def test_a_name_that_is_no_task_is_told_with_those_that_are(worker: Any) -> None:
    with pytest.raises(AttributeError) as caught:
        worker.ad(a=1)
    assert str(caught.value) == ("MyWorker has no task 'ad'. It has add, task_echo, task_start.")
    assert (caught.value.name, caught.value.obj) == ("ad", worker)  # "Did you mean: 'add'?"


def test_what_else_a_worker_has_is_not_called_elsewhere(worker: Any) -> None:
    for name in ("setUp", "hosts", "start", "name", "_private"):
        with pytest.raises(AttributeError, match=name):
            getattr(worker, name)
    assert callable(worker.task_start)


def test_a_shell_completes_and_describes_the_tasks(worker: Any) -> None:
    assert dir(worker) == ["add", "echo", "task_echo", "task_start"]
    assert repr(worker) == "<MyWorker over <SimpleClient of 127.0.0.1:1>>"
    assert str(inspect.signature(worker.add)) == "(a: 'int', b: 'int' = 0) -> 'int'"
    text = pydoc.render_doc(worker.add, renderer=pydoc.plaintext)
    assert "add(a: 'int', b: 'int' = 0) -> 'int'" in text
    assert "Adds A and B together" in text


def test_an_interface_may_be_copied_and_pickled(worker: Any) -> None:
    for other in (copy.copy(worker), copy.deepcopy(worker), pickle.loads(pickle.dumps(worker))):
        assert (dir(other), repr(other)) == (dir(worker), repr(worker))


@pytest.mark.parametrize("client", [None, "localhost:4730", ["localhost"], SimpleClient], ids=repr)
def test_what_is_no_client_is_refused(client: Any) -> None:
    with pytest.raises(InvalidOption, match="must be given a client"):
        MyWorker.using(client)


def test_a_client_whose_calls_return_something_else_is_refused() -> None:
    for client in (CLIENT, AioClient()):
        with pytest.raises(InvalidOption, match=r"AsyncClient\(…\)\.using\(background=True\)"):
            MyWorker.using(client.using(background=True))
    assert isinstance(MyWorker.using(AsyncClient().using(background=True)), Remote)


def test_only_tasks_of_the_class_are_submitted() -> None:
    class Other(BaseWorker):
        name = "other"

        @task
        def add(self, a: int) -> int:
            return a

    submit: Any = MyWorker.using(AsyncClient())
    for method in (Other.add, MyWorker.setUp, "add"):
        with pytest.raises(InvalidOption, match="is not a task of MyWorker"):
            submit(method, a=1)


def test_a_task_of_a_base_is_that_of_the_class() -> None:
    class Sub(MyWorker):
        name = "sub"

        def add(self, a: int, b: int = 0, c: int = 0) -> int:
            return a + b + c

    submit = Sub.using(AsyncClient())
    for method in (MyWorker.add, Sub.add):
        with pytest.raises(InvalidArguments, match=r"sub_add\(\) .* It takes a, b, c\."):
            submit(method, d=1)  # type: ignore[call-arg]


def test_a_class_that_cannot_be_called_is_told_at_once() -> None:
    class Nameless(Interface):
        @task
        def add(self, a: int) -> int:
            return a

    with pytest.raises(InvalidTask, match="Nameless has no name"):
        Nameless.using(CLIENT)


class Recording:
    """A client that keeps its calls, each with the key that it has."""

    def __init__(self, unique: str | None = None) -> None:
        self.unique = unique
        self.calls: list[tuple[str | None, str, dict[str, Any]]] = []

    def using(self, *, unique: str) -> Recording:
        other = Recording(unique)
        other.calls = self.calls
        return other

    def call(self, function: str, /, **kwargs: Any) -> None:
        self.calls.append((self.unique, function, kwargs))


class Reports(Interface):
    name = "reports"

    @task(cached=True)
    def month(self, year: Any, month: int = 1) -> None: ...

    @task
    def other(self, year: int) -> None: ...


def test_equal_calls_of_a_cached_task_have_one_key_and_no_others_have() -> None:
    client: Any = Recording()
    reports = Reports.using(client)
    for arguments in ((2026,), (2026, 1), (2027,), (object(),)):
        reports.month(*arguments)
    reports.other(2026)
    first, second, another, unknown, other = (unique for unique, *_ in client.calls)
    assert first == second is not None
    assert another not in (first, None)
    assert (unknown, other) == (None, None)
    assert client.calls[0][1:] == ("reports_month", {"year": 2026})
