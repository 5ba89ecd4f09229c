"""The differences between an interface class and a live worker."""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gearmanny.tasks.finding import find_tasks, help_function
from gearmanny.tasks.interface import Interface, ReturnsAnswers
from gearmanny.tasks.spec import help_table

_ANY_DEFAULT = "Ellipsis"
"""The default of `def task_add(self, a: int = ...)` in a help table."""

_STREAMS = {
    *("Iterator", "Iterable", "Generator"),
    *("AsyncIterator", "AsyncIterable", "AsyncGenerator"),
}
"""The annotations of tasks that yield. Their callers get a list."""

_OLD_NAMES = {"Dict", "FrozenSet", "List", "Set", "Tuple", "Type"}
"""Names in `typing` of types that are builtins."""


def check_interface(
    interface: type[Interface], client: ReturnsAnswers, *, strict: bool = False
) -> None:
    """Compares an interface class with the help of the live worker that has its name.

    Args:
        interface: the class through which tasks are called.
        client: calls the worker. Give it a timeout: without one, it waits until there is a worker.
        strict: whether the interface must declare everything that the worker offers.

    Raises:
        AssertionError: they differ; it lists all differences.
        InvalidTask: a task of the interface cannot be called.
        TaskTimeout: no worker answered in time.
        JobServerUnavailable: no job server could be reached.
        JobServerLost: the connection ended.
        TaskError: the help failed.
    """
    table = client.call(help_function(interface))
    if not isinstance(table, Mapping):
        raise AssertionError(
            f"{help_function(interface)}() did not return a table of tasks: {table!r}."
        )
    found = differences(interface, table, strict=strict)
    if found:
        raise AssertionError(
            f"{interface.__name__} differs from the worker {interface.name!r}:\n"
            + "\n".join(f"- {difference}" for difference in found)
        )


def differences(
    interface: type[Interface], table: Mapping[str, Any], *, strict: bool = False
) -> list[str]:
    """Returns how an interface class differs from a help table, a sentence for each difference.

    Tasks that only the table has, and arguments with a default that only the table has, count as
    differences only if `strict`. Annotations are compared as text where both have them; different
    spellings of the same type are equal, and a task that yields may be annotated with the list
    that its caller gets. A default `...` in the interface matches any default.

    Args:
        interface: the class.
        table: the answer of `<name>_help()`.
        strict: whether the interface must declare everything in the table.

    Raises:
        InvalidTask: a task of the class cannot be called.
    """
    said = json.loads(json.dumps(help_table(find_tasks(interface))))  # as over the network
    found = []
    for function, ours in said.items():
        if function in table:
            between = _of_a_task(ours, table[function], strict=strict)
            found += [f"{function}(): {difference}" for difference in between]
        else:
            found.append(f"{function}() is not offered by the worker.")
    if strict:
        found += [
            f"{other}() is missing from the interface." for other in table if other not in said
        ]
    return found


def _of_a_task(ours: dict[str, Any], theirs: dict[str, Any], *, strict: bool) -> Iterator[str]:
    if ours.get("takes_any") and not theirs.get("takes_any"):
        yield "the interface accepts any argument, but the worker only those that it names."
    for name, argument in ours["input"].items():
        if name in theirs["input"]:
            yield from _of_an_argument(name, argument, theirs["input"][name])
        elif not theirs.get("takes_any"):
            yield f"the worker takes no argument {name!r}."
    for name, argument in theirs["input"].items():
        if name not in ours["input"] and (argument["required"] or strict):
            yield f"the interface lacks the argument {name!r}" + (
                ", which the worker requires." if argument["required"] else "."
            )
    if not _same_type(ours.get("returns"), theirs.get("returns"), returned=True):
        yield (
            f"it returns {theirs['returns']} in the worker, but {ours['returns']} in the interface."
        )


def _of_an_argument(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    if ours["required"] != theirs["required"]:
        required = "the worker" if theirs["required"] else "the interface"
        yield f"{name!r} is required only by {required}."
    elif ours["default"] not in (theirs["default"], _ANY_DEFAULT):
        yield (
            f"{name!r} defaults to {theirs['default']!r} in the worker, "
            f"but to {ours['default']!r} in the interface."
        )
    if not _same_type(ours.get("annotation"), theirs.get("annotation")):
        yield (
            f"{name!r} is {theirs['annotation']} in the worker, "
            f"but {ours['annotation']} in the interface."
        )


def _same_type(ours: str | None, theirs: str | None, *, returned: bool = False) -> bool:
    if ours is None or theirs is None or ours == theirs:
        return True
    return _written_plainly(ours, returned) == _written_plainly(theirs, returned)


def _written_plainly(annotation: str, returned: bool) -> str:
    try:
        tree = _Plainly().visit(_parsed(annotation))
    except (SyntaxError, ValueError):  # of a worker in another language
        return annotation
    if returned and isinstance(tree, ast.Subscript) and ast.unparse(tree.value) in _STREAMS:
        return f"list[{ast.unparse(_members(tree)[0])}]"
    return ast.unparse(tree)


class _Plainly(ast.NodeTransformer):
    """Rewrites a type in one canonical spelling, such as `int | None`."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self.visit_Name(ast.Name(node.attr))  # whatever the module

    def visit_Constant(self, node: ast.Constant) -> Any:
        return self.visit(_parsed(node.value)) if isinstance(node.value, str) else node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(node.id.lower() if node.id in _OLD_NAMES else node.id)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        match ast.unparse(node.value):
            case "Optional":
                return _union([*_members(node), ast.Constant(None)])
            case "Union":
                return _union(_members(node))
        return node


def _members(node: ast.Subscript) -> list[ast.expr]:
    several = isinstance(node.slice, ast.Tuple) and node.slice.elts
    return several or [node.slice]


def _union(members: list[ast.expr]) -> ast.expr:
    return functools.reduce(lambda left, right: ast.BinOp(left, ast.BitOr(), right), members)


def _parsed(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body
