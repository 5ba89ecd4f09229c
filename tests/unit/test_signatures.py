"""The signatures of tasks: decorated ones, objects that are called, functions without a self."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from gearmanny.errors import InvalidArguments, InvalidTask
from gearmanny.tasks.finding import find_tasks, find_tasks_of
from gearmanny.tasks.signatures import check_parameters, keywords_of, receivers_of, signatures_of
from gearmanny.tasks.spec import TaskSpec


class Decorator:
    """A decorator that is a class, as Python's documentation of descriptors has it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else functools.partial(self.function, instance)


class Showing(Decorator):
    """One that shows what it wraps."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        functools.update_wrapper(self, function)


class Unbound:
    """One that forgets to hand the worker on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Opaque:
    """An object that shows no signature."""

    __call__ = print  # not a function of Python

    def __get__(self, instance: object, owner: type) -> Any:
        return self


def add(self: object, a: int, b: int = 1) -> int:
    return a + b


def anything(self: object, **others: Any) -> Any:
    return others


def worker_with(task: object) -> type:
    return type("Made", (), {"name": "made", "task_it": task})


def task_of(task: object) -> TaskSpec:
    return find_tasks(worker_with(task))[0]


def test_a_decorator_that_is_a_class_takes_every_argument() -> None:
    spec = task_of(Decorator(add))
    assert (spec.takes_any, spec.required) == (True, frozenset())


def test_a_decorator_that_shows_what_it_wraps_takes_the_arguments_of_that() -> None:
    spec = task_of(Showing(add))
    assert (spec.accepted, spec.required) == ({"a", "b"}, {"a"})


@pytest.mark.parametrize("decorator", [functools.cache, functools.lru_cache(maxsize=3)])
def test_a_cache_of_python_takes_the_arguments_of_what_it_wraps(decorator: Any) -> None:
    spec = task_of(decorator(add))
    assert (spec.accepted, spec.required, spec.takes_any) == ({"a", "b"}, {"a"}, False)


def test_an_object_without_a_signature_is_refused() -> None:
    with pytest.raises(InvalidTask, match=r"^Made\.task_it: no signature found"):
        task_of(Opaque())


NOT_BOUND = (
    "Made.task_it takes self, but is not a method, so it would not be given the worker. "
    "Define it with def in the class; a decorator that is a class needs a __get__."
)


def test_a_decorator_that_does_not_hand_the_worker_on_is_refused() -> None:
    with pytest.raises(InvalidTask) as caught:
        task_of(Unbound(add))
    assert str(caught.value) == NOT_BOUND


def test_a_function_of_the_instance_is_given_no_self() -> None:
    made: Any = type("Made", (), {"name": "made"})()
    made.task_it = add
    with pytest.raises(InvalidTask) as caught:
        find_tasks_of(made, None)
    assert str(caught.value) == NOT_BOUND


def test_a_static_method_may_have_an_argument_named_self() -> None:
    assert task_of(staticmethod(add)).accepted == {"self", "a", "b"}


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(this: object, /, *args: Any, **kwargs: Any) -> Any:
        return function(this, *args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("task", "receiver"),
    [(anything, "self"), (plain(anything), "self"), (classmethod(anything), "self")],
)
def test_no_call_gives_an_argument_the_name_of_the_worker(task: Any, receiver: str) -> None:
    spec = task_of(task)
    assert spec.check_arguments({"a": 1}) == {"a": 1}
    with pytest.raises(InvalidArguments) as caught:
        spec.check_arguments({"a": 1, receiver: 2})
    assert "made_it() got unexpected argument: 'self'" in str(caught.value)


def test_others_may_take_any_name() -> None:
    assert receivers_of(worker_with(staticmethod(anything)), "task_it") == frozenset()
    assert receivers_of(worker_with(functools.partial(anything, 1)), "task_it") == frozenset()
    assert receivers_of(worker_with(lambda self, /, **others: others), "task_it") == frozenset()
    made: Any = worker_with(None)()
    made.task_it = anything
    assert receivers_of(made, "task_it") == frozenset()


def test_a_decorator_may_add_what_a_call_lacks_besides_a_wrong_name() -> None:
    @functools.wraps(add)
    def wrapper(self: object, **kwargs: Any) -> Any:
        return add(self, 1, **kwargs)

    with pytest.raises(InvalidArguments) as caught:
        task_of(wrapper).check_arguments({"c": 1})
    assert "is missing" not in str(caught.value)


def test_parameters_by_name_are_those_of_calls() -> None:
    shown, called = signatures_of("Made.task_it", worker_with(add), "task_it")
    assert shown == called
    check_parameters("Made.task_it", shown)
    assert list(keywords_of(shown)) == ["a", "b"]
