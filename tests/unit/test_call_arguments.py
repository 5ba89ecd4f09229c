"""The arguments of a call on a command line, and the bar that shows how far it is."""

from __future__ import annotations

import io
from typing import Any

import pytest

from gearmanny.calling.values import Progress
from gearmanny.commands.arguments import arguments_of, pair_of
from gearmanny.commands.bar import Bar, drawn
from gearmanny.errors import InvalidOption


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("day=2026-01-01", ("day", "2026-01-01")),
        ("n=5", ("n", 5)),
        ('n="5"', ("n", "5")),
        ("flag=true", ("flag", True)),
        ("nothing=null", ("nothing", None)),
        ("nothing=", ("nothing", "")),
        ("text=a=b", ("text", "a=b")),
        ('many=[1, {"a": 2}]', ("many", [1, {"a": 2}])),
        ("broken=[1, ", ("broken", "[1, ")),
        ("number=NaN", ("number", "NaN")),
        ("number=-Infinity", ("number", "-Infinity")),
    ],
)
def test_a_value_is_json_where_it_is_valid_and_else_text(text: str, pair: tuple[str, Any]) -> None:
    assert pair_of(text) == pair


@pytest.mark.parametrize("text", ["n", "=5", ""])
def test_an_argument_has_a_name_and_a_value(text: str) -> None:
    with pytest.raises(InvalidOption, match="NAME=VALUE"):
        pair_of(text)


def test_arguments_may_be_an_object_with_more_of_them_beside_it() -> None:
    assert arguments_of([("a", 1)], None) == {"a": 1}
    assert arguments_of([("a", 1)], '{"b": [2]}') == {"a": 1, "b": [2]}


@pytest.mark.parametrize(
    ("pairs", "given", "said"),
    [
        ([], "[1]", "must be a JSON object"),
        ([], "{", "must be JSON: "),
        ([], '{"a": NaN}', "NaN is not JSON"),
        ([("a", 1)], '{"a": 1}', "'a' is given twice"),
        ([("a", 1), ("a", 2)], None, "'a' is given twice"),
    ],
)
def test_wrong_arguments_are_named(
    pairs: list[tuple[str, Any]], given: str | None, said: str
) -> None:
    with pytest.raises(InvalidOption, match=said):
        arguments_of(pairs, given)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_over_itself_and_ends_with_its_line() -> None:
    terminal = Terminal()
    bar = Bar(terminal)
    bar.end()
    bar.show(Progress(1, 4))
    bar.show(Progress(4, 4))
    bar.end()
    bar.end()
    assert terminal.getvalue() == (
        f"\r\033[K[{7 * '#'}{23 * '.'}]  25%  1 of 4\r\033[K[{30 * '#'}] 100%  4 of 4\n"
    )


def test_where_there_is_no_terminal_there_is_a_line_for_each_tenth() -> None:
    stream = io.StringIO()
    bar = Bar(stream)
    for done in range(101):
        bar.show(Progress(done, 100))
    bar.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[3] == " 30%  30 of 100"


def test_a_total_that_nobody_knows_or_a_strange_progress_is_shown_as_it_is() -> None:
    assert drawn(Progress(3, 0)) == "3 done"
    assert drawn(Progress(-1, 4)).endswith("]   0%  -1 of 4")
    assert drawn(Progress(5, 4)).endswith("] 100%  5 of 4")
