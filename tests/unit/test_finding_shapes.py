"""Methods that count as tasks: decorated ones, attributes that are no methods, forgotten selves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from gearmanny.errors import InvalidArguments, InvalidTask
from gearmanny.tasks.finding import find_tasks, find_tasks_of, functions_of
from gearmanny.tasks.spec import TaskSpec


def worker_with(**attributes: Any) -> type:
    """A worker class made for one test."""
    return type("Made", (), {"name": "made", **attributes})


def task_of(function: object) -> TaskSpec:
    """The task that a function is in a worker class."""
    [found] = find_tasks(worker_with(task_it=function))
    return found


def injects_database(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: object, *args: Any, alias: str = "default", **kwargs: Any) -> Any:
        return function(self, f"db {alias}", *args, **kwargs)

    return wrapper


@injects_database
def insert(self: object, database: str, row: str) -> str:
    return database + row


class Form:
    """A class, as forms and serializers are."""


def test_a_class_is_no_task() -> None:
    assert functions_of(worker_with(task_form=Form, task_kind=int)) == {"made_help": "help"}


def test_a_decorator_may_add_arguments() -> None:
    spec = task_of(insert)
    assert spec.check_arguments({"row": "r"}) == {"row": "r"}
    assert spec.check_arguments({"row": "r", "alias": "other"}) == {"row": "r", "alias": "other"}


def test_a_misspelt_argument_of_a_decorated_task_is_refused() -> None:
    with pytest.raises(InvalidArguments, match=r"got unexpected argument: 'rwo'"):
        task_of(insert).check_arguments({"rwo": "r"})


def test_a_decorator_that_names_its_arguments_takes_these_alone() -> None:
    @functools.wraps(insert)
    def wrapper(self: object, row: str) -> str:
        return row

    spec = task_of(wrapper)
    assert (spec.accepted, spec.required) == ({"row"}, {"row"})
    with pytest.raises(InvalidArguments, match="missing required argument: 'row'"):
        spec.check_arguments({})


def test_a_decorator_that_says_nothing_of_what_it_wraps_takes_every_argument() -> None:
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    spec = task_of(wrapper)
    assert spec.takes_any
    assert spec.check_arguments({"a": 1}) == {"a": 1}


def test_an_object_that_is_called_is_not_given_the_worker() -> None:
    class Called:
        def __call__(self, a: int) -> int:
            return a

    assert task_of(Called()).required == {"a"}


def test_arguments_by_position_have_nothing_to_travel_in() -> None:
    def total(self: object, *numbers: int) -> None: ...

    with pytest.raises(InvalidTask) as caught:
        task_of(total)
    assert str(caught.value) == (
        "Made.task_it takes *numbers, but arguments travel by name, so it would always be empty. "
        "Take a list: numbers."
    )


def nothing() -> None: ...


def keyword(*, a: int) -> None: ...


@pytest.mark.parametrize("function", [nothing, keyword])
def test_a_method_without_self_is_refused(function: object) -> None:
    with pytest.raises(InvalidTask) as caught:
        task_of(function)
    assert str(caught.value) == (
        "Made.task_it takes no self, so it cannot be called. Add self as its first parameter, "
        "or decorate it with @staticmethod."
    )


def test_an_argument_is_not_taken_for_self() -> None:
    def add(a: int, b: int) -> None: ...

    with pytest.raises(InvalidTask) as caught:
        task_of(add)
    assert str(caught.value) == (
        "Made.task_it has 'a' where self belongs, so no caller could give a value to 'a'. "
        "Add self as its first parameter, or decorate it with @staticmethod."
    )


@pytest.mark.parametrize("name", ["self", "this", "_", "__self"])
def test_self_may_have_another_name(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def task({name}, a): ...", space)
    assert task_of(space["task"]).accepted == {"a"}


def test_functions_of_the_instance_are_tasks_as_they_are() -> None:
    made: Any = worker_with()()
    made.task_late = lambda a: a
    made.task_form = Form
    made.other = lambda: None
    [spec] = find_tasks_of(made, None)
    assert (spec.function, spec.method, spec.accepted) == ("made_late", "task_late", {"a"})


def failing(arguments: dict[str, Any]) -> TypeError:
    """What a call of `insert` by its decorator raises."""
    with pytest.raises(TypeError) as caught:
        insert(object(), **arguments)
    return caught.value


def test_what_no_decorator_adds_is_missing() -> None:
    spec = task_of(insert)
    refusal = spec.refusal_of(failing({}), {})
    assert str(refusal) == (
        "made_it() is missing required argument: 'row'. It takes database, row."
    )


def test_other_errors_of_type_are_not_those_of_arguments() -> None:
    spec = task_of(insert)
    inside = failing({"row": 1})  # database + row
    assert spec.refusal_of(inside, {"row": 1}) is None
    assert spec.refusal_of(TypeError("missing 1 required argument: 'other'"), {}) is None
    assert spec.refusal_of(TypeError("'row' is too long"), {}) is None


def test_a_task_that_no_decorator_completes_explains_no_error() -> None:
    def task_it(self: object, a: int) -> None: ...

    assert task_of(task_it).refusal_of(TypeError("f() missing 'a'"), {}) is None
