"""The differences that are reported between an interface class and the help of a worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gearmanny.interface import Interface
from gearmanny.tasks.agreement import differences
from gearmanny.tasks.finding import find_tasks
from gearmanny.tasks.options import task
from gearmanny.tasks.spec import help_table


class Live:
    name = "w"

    @task
    def add(self, a: int, b: int = 0) -> int:
        return a + b

    @task
    def any(self, **options: object) -> None: ...

    @task
    def lines(self, text: str, sizes: tuple[int, int] = (1, 2)):  # type: ignore[no-untyped-def]
        yield text


TABLE = json.loads(json.dumps(help_table(find_tasks(Live))))


def told(*, strict: bool = False, table: Any = TABLE, **methods: Any) -> list[str]:
    """The differences of an interface with these tasks."""
    tasks = {f"task_{name}": method for name, method in methods.items()}
    made = type("Made", (Interface,), {"name": "w", **tasks})
    return differences(made, table, strict=strict)


def test_a_class_agrees_with_its_own_help() -> None:
    class Same(Live, Interface): ...

    assert differences(Same, TABLE, strict=True) == []


def test_what_the_worker_offers_besides_is_told_when_strict() -> None:
    def add(self: object, a: int) -> int: ...  # type: ignore[empty-body]

    assert told(add=add) == []
    assert told(add=add, strict=True) == [
        "w_add(): the interface lacks the argument 'b'.",
        "w_any() is missing from the interface.",
        "w_lines() is missing from the interface.",
    ]


def test_every_difference_is_told() -> None:
    def add(self: object, b: int, c: int = 1) -> str: ...  # type: ignore[empty-body]
    def lines(self: object, text: bytes = b"", sizes: object = (1, 3)) -> None: ...
    def gone(self: object) -> None: ...

    assert told(add=add, lines=lines, gone=gone) == [
        "w_add(): 'b' is required only by the interface.",
        "w_add(): the worker takes no argument 'c'.",
        "w_add(): the interface lacks the argument 'a', which the worker requires.",
        "w_add(): it returns int in the worker, but str in the interface.",
        "w_gone() is not offered by the worker.",
        "w_lines(): 'text' is required only by the worker.",
        "w_lines(): 'text' is str in the worker, but bytes in the interface.",
        "w_lines(): 'sizes' defaults to [1, 2] in the worker, but to [1, 3] in the interface.",
        "w_lines(): 'sizes' is tuple[int, int] in the worker, but object in the interface.",
    ]


def test_a_worker_that_takes_any_argument_takes_those_of_the_interface() -> None:
    def any(self: object, a: int) -> None: ...
    def add(self: object, a: int, **more: int) -> int: ...  # type: ignore[empty-body]

    assert told(any=any) == []
    assert told(add=add) == [
        "w_add(): the interface accepts any argument, but the worker only those that it names."
    ]


def test_a_default_of_three_dots_is_any_default() -> None:
    def add(self: object, a: int, b: int = ...) -> int: ...  # type: ignore

    assert told(add=add, strict=False) == []


def test_what_is_not_annotated_is_not_compared() -> None:
    def add(self, a, b=0): ...  # type: ignore[no-untyped-def]

    assert told(add=add) == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("int | None", "Optional[int]"),
        ("int | str | None", "typing.Union[int, str, None]"),
        ("list[dict[str, Any]]", "List[t.Dict[str, 'Any']]"),
        ("datetime.date", "date"),
        ("'int'", "int"),
    ],
)
def test_a_type_may_be_written_in_several_ways(ours: str, theirs: str) -> None:
    def add(self, a, b=0): ...  # type: ignore[no-untyped-def]

    add.__annotations__ = {"a": ours, "return": ours}
    entry = {
        "input": {"a": {"default": None, "required": True, "annotation": theirs}},
        "returns": theirs,
    }
    entry["input"]["b"] = {"default": 0, "required": False}  # type: ignore[index]
    assert told(add=add, table={"w_add": entry}) == []
    entry["returns"] = "list[bytes]"
    assert told(add=add, table={"w_add": entry}) == [
        f"w_add(): it returns list[bytes] in the worker, but {ours} in the interface."
    ]


@pytest.mark.parametrize(
    "annotation", ["Iterator[str]", "collections.abc.Generator[str, None, int]", "Iterable[str]"]
)
def test_a_task_that_yields_returns_a_list_to_its_caller(annotation: str) -> None:
    def lines(self) -> list[str]: ...  # type: ignore

    entry = {"input": {}, "returns": annotation}
    assert told(lines=lines, table={"w_lines": entry}) == []
    entry["returns"] = annotation.replace("str", "int", 1)
    assert len(told(lines=lines, table={"w_lines": entry})) == 1


@pytest.mark.parametrize("annotation", ["a string", "List<int>", "'(", "Generator[()]"])
def test_a_type_of_another_language_is_compared_as_it_is(annotation: str) -> None:
    def lines(self) -> list[str]: ...  # type: ignore

    entry = {"input": {}, "returns": annotation}
    assert len(told(lines=lines, table={"w_lines": entry})) == 1
    lines.__annotations__ = {"return": annotation}
    assert told(lines=lines, table={"w_lines": entry}) == []
