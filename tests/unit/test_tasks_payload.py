"""Tasks that take a payload as it is, and clients as the pure side sees them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest

from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.interface import Interface
from gearmanny.tasks.agreement import check_interface
from gearmanny.tasks.finding import find_tasks
from gearmanny.tasks.options import task
from gearmanny.tasks.spec import help_table
from gearmanny.vocabulary.encoders import RawDataEncoder


class TakesPayload:
    """A work class, as far as tasks need it."""

    data_encoder = RawDataEncoder


class Lines(Interface):
    name = "lines"
    work_class = TakesPayload

    @task
    def count(self, blob: bytes, end: bytes = b"\n") -> int:
        return blob.count(end)


class Adds(Interface):
    name = "adds"

    @task
    def add(self, a: int, b: int) -> int:
        return a + b


class Answers:
    """A client whose calls return one answer."""

    _returns: ClassVar[Literal["work"]] = "work"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, function: str, /, **kwargs: Any) -> Any:
        self.calls.append((function, kwargs))
        return self.answer


def test_a_payload_is_the_one_argument_without_a_default() -> None:
    (spec,) = find_tasks(Lines)
    assert spec.payload == "blob"
    assert spec.check_arguments(b"a\nb") == {"blob": b"a\nb"}
    assert spec.whole([b"a", b"b"]) == b"ab"
    assert spec.help()["payload"] == "blob"


def test_keywords_are_a_list_of_parts_at_the_end() -> None:
    (spec,) = find_tasks(Adds)
    assert spec.whole([1, 2]) == [1, 2]


@pytest.mark.parametrize("count", [0, 2])
def test_a_task_takes_one_payload(count: int) -> None:
    methods = {
        0: lambda self, a=1: a,
        2: lambda self, a, b: a,
    }
    made = type("Made", (), {"name": "w", "work_class": TakesPayload, "task_do": methods[count]})
    with pytest.raises(InvalidTask, match=rf"Made\.task_do takes {count} arguments"):
        find_tasks(made)


def test_what_takes_a_payload_is_not_called_with_keywords() -> None:
    with pytest.raises(InvalidOption, match="take a payload instead of keywords"):
        Lines.using(Answers(None))


def test_a_task_of_the_class_is_called_by_its_function() -> None:
    client = Answers("work")
    assert Adds.using(client)(Adds.add, 1, b=2) == "work"
    assert client.calls == [("adds_add", {"a": 1, "b": 2})]


def test_an_interface_that_agrees_is_as_it_should_be() -> None:
    client: Any = Answers(help_table(find_tasks(Adds)))
    check_interface(Adds, client, strict=True)
    assert client.calls == [("adds_help", {})]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (["no", "table"], r"adds_help\(\) did not return a table of tasks: \['no', 'table'\]"),
        ({}, r"Adds differs from the worker 'adds':\n- adds_add\(\) is not offered by the worker"),
    ],
)
def test_an_interface_that_differs_is_an_error(answer: object, message: str) -> None:
    client: Any = Answers(answer)
    with pytest.raises(AssertionError, match=message):
        check_interface(Adds, client)
