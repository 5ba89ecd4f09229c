"""The tasks of a worker class: which methods are tasks, and which classes are refused."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

import pytest

from gearmanny.errors import InvalidTask
from gearmanny.payload.names import check_function_name
from gearmanny.tasks.finding import find_tasks, functions_of, help_function
from gearmanny.tasks.options import task
from gearmanny.worker import BaseWorker, RawWorker


class MyWorker:
    name = "myworker"
    task_limit = 5  # no method

    def task_echo(self, text: str, double: bool = False) -> str:
        """Echoes the text"""
        return text + text if double else text

    def task_add(self, a: int, b: int) -> int:
        """Adds A and B together"""
        return a + b

    @property
    def task_state(self) -> str:
        return "no method either"

    def helper(self) -> None: ...


class SubWorker(MyWorker):
    name = "sub"

    def task_add(self, a: int, b: int, c: int = 0) -> int:
        return a + b + c

    @staticmethod
    def task_now(zone: str) -> str:
        return zone

    @classmethod
    def task_kind(cls, short: bool = True) -> str:
        return cls.name


def worker_with(name: object = "w", **tasks: Any) -> type:
    """A worker class made for one test."""
    return type("Made", (), {"name": name, **tasks})


def functions(worker: type) -> list[str]:
    return [task.function for task in find_tasks(worker)]


def test_every_method_that_is_named_like_a_task_is_one() -> None:
    assert functions(MyWorker) == ["myworker_add", "myworker_echo"]


class Decorated(BaseWorker):
    name = "decorated"

    @task
    def add(self, a: int, b: int) -> int:
        """Adds A and B together"""
        return a + b

    @task(timeout=5)
    def task_wait(self) -> None: ...

    def helper(self) -> None: ...


def test_a_decorated_method_of_any_name_is_a_task() -> None:
    assert functions_of(Decorated) == {
        "decorated_add": "add",
        "decorated_wait": "task_wait",
        "decorated_help": "help",
    }
    add, wait = find_tasks(Decorated)
    assert (add.description, add.required) == ("Adds A and B together", {"a", "b"})
    assert wait.options.limit == 5


def test_an_override_of_a_task_is_one_without_being_decorated() -> None:
    class Sub(Decorated):
        def add(self, a: int, b: int, c: int = 0) -> int:
            return a + b + c

    class Fewer(Decorated):
        add = None  # type: ignore[assignment]

    assert find_tasks(Sub)[0].accepted == {"a", "b", "c"}
    assert functions(Fewer) == ["decorated_wait"]


def test_two_tasks_are_not_one_function() -> None:
    class Twice(Decorated):
        def task_add(self, a: int) -> int:
            return a

    with pytest.raises(InvalidTask) as caught:
        find_tasks(Twice)
    assert str(caught.value) == (
        "Twice has add and task_add, and both would be decorated_add(). "
        "Give one of them another name."
    )


@pytest.mark.parametrize("method", ["start", "using", "job", "hosts", "prefetch", "register_task"])
def test_a_task_must_not_take_the_place_of_what_a_worker_needs(method: str) -> None:
    def function(self: object) -> None: ...

    made = type("Made", (BaseWorker,), {"name": "made", method: task(function)})
    with pytest.raises(InvalidTask) as caught:
        find_tasks(made)
    assert f"Made.{method} would replace what every " in str(caught.value)
    assert f"Call the method task_{method}: its function stays the same." in str(caught.value)
    fine = type("Made", (BaseWorker,), {"name": "made", f"task_{method}": function})
    assert functions(fine) == [f"made_{method}"]


def test_what_has_every_attribute_is_no_task_for_that() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self) -> None: ...

    assert functions(worker_with(helper=Anything())) == []


def test_tasks_are_inherited_under_the_name_of_the_subclass() -> None:
    assert functions(SubWorker) == ["sub_add", "sub_echo", "sub_kind", "sub_now"]


def test_an_overridden_task_takes_its_own_arguments() -> None:
    add, *_ = find_tasks(SubWorker)
    assert add.accepted == {"a", "b", "c"}
    assert add.required == {"a", "b"}
    assert add.method == "task_add"


@pytest.mark.parametrize(("method", "accepted"), [("task_now", "zone"), ("task_kind", "short")])
def test_static_and_class_methods_keep_their_first_argument(method: str, accepted: str) -> None:
    [task] = [task for task in find_tasks(SubWorker) if task.method == method]
    assert task.accepted == {accepted}


def test_a_decorated_task_takes_what_the_method_takes() -> None:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @decorate
    def task(self: object, a: int, *, b: int = 1) -> None:
        """Is decorated."""

    [found] = find_tasks(worker_with(task_it=task))
    assert found.accepted == {"a", "b"}
    assert found.required == {"a"}
    assert not found.takes_any
    assert found.description == "Is decorated."


def test_a_worker_without_tasks_offers_its_help_alone() -> None:
    assert functions_of(worker_with("empty")) == {"empty_help": "help"}


def test_functions_are_listed_with_their_methods() -> None:
    assert functions_of(MyWorker) == {
        "myworker_add": "task_add",
        "myworker_echo": "task_echo",
        "myworker_help": "help",
    }
    assert help_function(MyWorker) == "myworker_help"


@pytest.mark.parametrize("name", [None, "", 5, b"bytes", ["list"]], ids=repr)
def test_a_class_without_a_name_is_told_to_add_one(name: object) -> None:
    with pytest.raises(InvalidTask) as caught:
        find_tasks(worker_with(name))
    assert str(caught.value) == (
        'Made has no name. Add one to the class, such as name = "made": its tasks are called by it.'
    )


def test_a_class_that_says_nothing_of_a_name_has_none() -> None:
    class Nameless:
        def task_echo(self, text: str) -> str:
            return text

    with pytest.raises(InvalidTask, match="Nameless has no name"):
        find_tasks(Nameless)


@pytest.mark.parametrize(
    "name",
    ["my worker", "tab\t", "new\nline", "nul\0", "\x7f", "no\u00a0break", "\u2028"],
    ids=ascii,
)
def test_white_space_and_control_characters_are_no_names(name: str) -> None:
    with pytest.raises(InvalidTask, match="Use letters, digits, dots, dashes and underscores"):
        find_tasks(worker_with(name))


def test_a_lone_surrogate_is_no_name() -> None:
    with pytest.raises(InvalidTask, match="cannot be encoded in UTF-8"):
        find_tasks(worker_with("\ud800"))


@pytest.mark.parametrize("name", ["w", "my-worker.v2", "größe", "w" * 512])
def test_a_name_travels_as_utf_8(name: str) -> None:
    assert check_function_name(name) == name.encode()


@pytest.mark.parametrize(("name", "length"), [("", 0), ("w" * 513, 513), ("ü" * 257, 514)])
def test_a_function_has_1_to_512_bytes(name: str, length: int) -> None:
    with pytest.raises(
        InvalidTask, match=f"has {length} bytes; the name of a Gearman function has 1 to 512"
    ):
        check_function_name(name)


def test_a_task_that_makes_the_name_too_long_is_refused() -> None:
    def task(self: object) -> None: ...

    assert functions(worker_with("w" * 508, task_abc=task))
    with pytest.raises(InvalidTask, match="has 513 bytes"):
        find_tasks(worker_with("w" * 509, task_abc=task))


def test_a_task_must_not_take_the_place_of_the_help() -> None:
    def task(self: object) -> None: ...

    with pytest.raises(InvalidTask) as caught:
        find_tasks(worker_with(task_help=task))
    assert str(caught.value) == (
        "Made.task_help would hide w_help(), which is made from the docstrings of the tasks. "
        "Give the method another name."
    )


def test_an_argument_by_position_only_cannot_be_called() -> None:
    def task(self: object, a: int, /, b: int) -> None: ...

    with pytest.raises(InvalidTask) as caught:
        find_tasks(worker_with(task_add=task))
    assert str(caught.value) == (
        "Made.task_add takes 'a' by position only, but arguments travel by name. "
        "Remove the '/' from its signature."
    )


def test_a_coroutine_is_a_task() -> None:
    async def task(self: object, a: int) -> None: ...

    [found] = find_tasks(worker_with(task_wait=task))
    assert found.is_async
    assert found.accepted == {"a"}


def test_self_by_position_only_does_no_harm() -> None:
    def task(self: object, /, a: int) -> None: ...

    [found] = find_tasks(worker_with(task_add=task))
    assert found.accepted == {"a"}


def test_a_task_whose_arguments_cannot_be_found_out_is_refused() -> None:
    with pytest.raises(InvalidTask, match="task_most"):
        find_tasks(worker_with(task_most=staticmethod(max)))


def test_a_coroutine_cannot_be_atomic() -> None:
    @task(atomic=True)
    async def task_write(self: object) -> None: ...

    with pytest.raises(InvalidTask, match=r"Made\.task_write is atomic and async"):
        find_tasks(worker_with(task_write=task_write))


def test_the_arguments_of_a_schedule_are_those_of_its_task() -> None:
    class Reporting:
        name = "reports"

        @task(every=timedelta(hours=1), args={"month": 3})
        def report(self, year: int) -> None: ...

    with pytest.raises(
        InvalidTask, match=r"The schedule of Reporting\.report: reports_report\(\) is missing"
    ):
        find_tasks(Reporting)


def test_a_task_that_takes_a_payload_has_a_schedule_without_arguments() -> None:
    class Raw:
        name = "raw"
        work_class = RawWorker

        @task(every=timedelta(hours=1), args={"payload": 3})
        def report(self, payload: bytes) -> None: ...

    with pytest.raises(InvalidTask, match=r"takes a payload\. Leave args out"):
        find_tasks(Raw)
