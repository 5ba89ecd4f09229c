"""Conditions on which a status is bad, such as `mail_send:waiting>100`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gearmanny.commands.overview import METRICS, RECORDED_METRICS, Overview, Row
from gearmanny.errors import InvalidOption, printable

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}

_CONDITION = re.compile(
    r"(?:(?P<function>.+):)?\s*(?P<metric>\w+)\s*(?P<operator>[<>=!]=?)\s*(?P<number>\d+(?:\.\d+)?)",
    re.ASCII,
)

SYNTAX = "[FUNCTION:]METRIC OPERATOR NUMBER"


class Condition(NamedTuple):
    """A condition. It holds if it holds for any function that it is about."""

    text: str
    function: str | None
    """None for all of them."""
    metric: str
    holds: Callable[[float, float], bool]
    number: float

    def check_without_records(self) -> None:
        """Checks that it is about a number that is known without records.

        Raises:
            InvalidOption: it is not.
        """
        if self.metric in RECORDED_METRICS:
            raise InvalidOption(
                f"{self.text!r} is about recorded jobs, and there is no database of records. "
                f"Without one, a condition is about {', '.join(METRICS)}."
            )

    def met_by(self, overview: Overview) -> list[str]:
        """Returns for which functions it holds, each as a line; an empty list if for none.

        A function that nobody knows has no jobs and no workers. Where there is no function at all,
        a condition on all of them is about such a one.

        Args:
            overview: what is known.
        """
        return [
            f"{self.text}: {printable(row.function)} has {_written(self._value(row))}"
            for row in self._rows(overview.rows)
            if self.holds(self._value(row), self.number)
        ]

    def _value(self, row: Row) -> float:
        value: float = getattr(row, self.metric)
        return value

    def _rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        if self.function is None:
            return rows or [Row("any function")]
        named = [row for row in rows if row.function == self.function]
        return named or [Row(self.function)]


def parse_condition(text: str) -> Condition:
    """Returns the condition that a text states.

    Args:
        text: such as `"waiting>100"` or `"mail_send:workers < 1"`.

    Raises:
        InvalidOption: it states none.
    """
    found = _CONDITION.fullmatch(text.strip())
    known = METRICS + RECORDED_METRICS
    if found is None or found["operator"] not in _OPERATORS or found["metric"] not in known:
        raise InvalidOption(
            f"{text!r} is not a condition. Write {SYNTAX}, such as 'waiting>100' or "
            f"'mail_send:workers<1'. METRIC is {', '.join(known[:-1])} or {known[-1]}; OPERATOR is "
            f"one of {' '.join(_OPERATORS)}."
        )
    return Condition(
        text.strip(),
        found["function"],
        found["metric"],
        _OPERATORS[found["operator"]],
        float(found["number"]),
    )


def _written(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.3g}"
