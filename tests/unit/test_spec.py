"""The arguments of a call against those of the task, and the table that describes them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from gearmanny.errors import InvalidArguments
from gearmanny.tasks.finding import find_tasks
from gearmanny.tasks.spec import TaskSpec, help_table
from gearmanny.vocabulary.encoders import JSONDataEncoder


class MyWorker:
    name = "myworker"

    def task_add(self, a, b):  # type: ignore[no-untyped-def]
        """Adds A and B together"""

    def task_any(self, a, **options):  # type: ignore[no-untyped-def]
        pass

    def task_echo(self, text, double=False):  # type: ignore[no-untyped-def]
        """Echoes the text.

        Twice when it is
            told so.
        """

    def task_only(self, *, key: str, flag: bool = False) -> list[str]:
        return [key]

    def task_ping(self):  # type: ignore[no-untyped-def]
        pass


TASKS = {task.function: task for task in find_tasks(MyWorker)}


def task_with_default(value: object) -> TaskSpec:
    def task(self: object, a: object = value) -> None: ...

    [found] = find_tasks(type("Made", (), {"name": "made", "task_it": task}))
    return found


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("myworker_add", {"a": 10, "b": 15}),
        ("myworker_add", {"b": None, "a": None}),
        ("myworker_echo", {"text": "hi"}),
        ("myworker_echo", {"text": "hi", "double": True}),
        ("myworker_any", {"a": 1}),
        ("myworker_any", {"a": 1, "b": 2, "class": 3}),
        ("myworker_only", {"key": "k"}),
        ("myworker_ping", {}),
    ],
)
def test_arguments_that_a_task_takes_are_given_to_it(
    function: str, arguments: dict[str, Any]
) -> None:
    assert TASKS[function].check_arguments(arguments) == arguments


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            "myworker_add",
            {"a": 1},
            "myworker_add() is missing required argument: 'b'. It takes a, b.",
        ),
        (
            "myworker_add",
            {},
            "myworker_add() is missing required arguments: 'a', 'b'. It takes a, b.",
        ),
        (
            "myworker_add",
            {"a": 1, "bb": 2},
            "myworker_add() is missing required argument: 'b' and got unexpected argument: 'bb'. "
            "It takes a, b.",
        ),
        (
            "myworker_add",
            {"a": 1, "b": 2, "c": 3},
            "myworker_add() got unexpected argument: 'c'. It takes a, b.",
        ),
        (
            "myworker_echo",
            {"text": "", "x": 1, "a": 2},
            "myworker_echo() got unexpected arguments: 'x', 'a'. It takes text, double.",
        ),
        (
            "myworker_any",
            {"b": 2},
            "myworker_any() is missing required argument: 'a'. It takes a, **options.",
        ),
        (
            "myworker_only",
            {"flag": True},
            "myworker_only() is missing required argument: 'key'. It takes key, flag.",
        ),
        (
            "myworker_ping",
            {"a": 1},
            "myworker_ping() got unexpected argument: 'a'. It takes no arguments.",
        ),
    ],
)
def test_other_arguments_are_refused_by_name(
    function: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArguments) as caught:
        TASKS[function].check_arguments(arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [([1, 2], "list"), ("a", "str"), (5, "int"), (None, "NoneType"), (True, "bool")],
)
def test_only_an_object_holds_arguments(arguments: object, kind: str) -> None:
    for function, usage in (("myworker_add", "a, b"), ("myworker_ping", "no arguments")):
        with pytest.raises(InvalidArguments) as caught:
            TASKS[function].check_arguments(arguments)
        assert str(caught.value) == (
            f"{function}() takes its arguments as one object of keywords, not as {kind}. "
            f"It takes {usage}."
        )


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "bound"),
    [
        ("myworker_add", (1, 2), {}, {"a": 1, "b": 2}),
        ("myworker_add", (1,), {"b": 2}, {"a": 1, "b": 2}),
        ("myworker_echo", ("hi",), {}, {"text": "hi"}),
        ("myworker_any", (1,), {"more": 2}, {"a": 1, "more": 2}),
        ("myworker_only", (), {"key": "k"}, {"key": "k"}),
        ("myworker_ping", (), {}, {}),
    ],
)
def test_arguments_by_position_get_their_names_and_defaults_stay_with_the_worker(
    function: str, args: tuple[Any, ...], kwargs: dict[str, Any], bound: dict[str, Any]
) -> None:
    assert TASKS[function].bind_arguments(args, kwargs) == bound


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "message"),
    [
        (
            "myworker_add",
            (1, 2, 3),
            {},
            "myworker_add() got 3 arguments by position, and takes up to 2. It takes a, b.",
        ),
        (
            "myworker_add",
            (1,),
            {"a": 1},
            "myworker_add() got multiple values for argument: 'a'. It takes a, b.",
        ),
        (
            "myworker_only",
            ("k",),
            {},
            "myworker_only() got 1 argument by position, and takes none. It takes key, flag.",
        ),
        (
            "myworker_add",
            (1,),
            {},
            "myworker_add() is missing required argument: 'b'. It takes a, b.",
        ),
    ],
)
def test_arguments_that_cannot_be_bound_are_told(
    function: str, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArguments) as caught:
        TASKS[function].bind_arguments(args, kwargs)
    assert str(caught.value) == message


def test_the_help_table_tells_which_task_takes_any_argument() -> None:
    table = help_table(list(TASKS.values()))
    assert table["myworker_any"]["takes_any"] is True
    assert "takes_any" not in table["myworker_ping"]


def test_the_help_table_describes_every_task_and_its_arguments() -> None:
    table = help_table(list(TASKS.values()))
    assert list(table) == sorted(TASKS)
    assert table["myworker_add"] == {
        "description": "Adds A and B together",
        "input": {
            "a": {"default": None, "required": True},
            "b": {"default": None, "required": True},
        },
    }
    assert table["myworker_echo"]["input"]["double"] == {"default": False, "required": False}
    assert table["myworker_ping"] == {"description": "", "input": {}}
    assert list(table["myworker_any"]["input"]) == ["a"]


def test_the_help_table_tells_annotations_as_they_are_written() -> None:
    assert help_table([TASKS["myworker_only"]])["myworker_only"] == {
        "description": "",
        "input": {
            "key": {"default": None, "required": True, "annotation": "str"},
            "flag": {"default": False, "required": False, "annotation": "bool"},
        },
        "returns": "list[str]",
    }


def test_annotations_that_are_no_text_are_written_as_in_python() -> None:
    def task(self, a, b):  # type: ignore[no-untyped-def]
        pass

    task.__annotations__ = {"a": int, "b": list[int], "return": None}
    [found] = find_tasks(type("Made", (), {"name": "made", "task_it": task}))
    entry = found.help()
    assert entry["input"]["a"]["annotation"] == "int"
    assert entry["input"]["b"]["annotation"] == "list[int]"
    assert entry["returns"] == "None"


def test_the_description_is_the_docstring_without_its_indentation() -> None:
    assert TASKS["myworker_echo"].description == (
        "Echoes the text.\n\nTwice when it is\n    told so."
    )


@pytest.mark.parametrize(
    "default", [None, True, 1, 1.5, "a", [1, "b"], {"a": {"b": None}}], ids=repr
)
def test_a_default_that_is_json_is_told_as_it_is(default: object) -> None:
    assert task_with_default(default).help()["input"]["a"] == {
        "default": default,
        "required": False,
        "annotation": "object",
    }


@pytest.mark.parametrize(
    ("default", "told"),
    [
        ({1}, "{1}"),
        (b"a", "b'a'"),
        (math.inf, "inf"),
        ([math.nan], "[nan]"),
        (int, "<class 'int'>"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
    ],
)
def test_any_other_default_is_told_as_python_writes_it(default: object, told: str) -> None:
    assert task_with_default(default).help()["input"]["a"]["default"] == told


@pytest.mark.parametrize(
    "default",
    [object(), math.nan, {1}, "\ud800", ["\udfff"]],
    ids=lambda default: type(default).__name__,
)
def test_no_default_keeps_the_help_from_travelling(default: object) -> None:
    table = help_table([task_with_default(default)])
    assert json.loads(JSONDataEncoder.encode(table)).keys() == {"made_it"}
