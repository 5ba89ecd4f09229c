"""The background calls that were made in eager mode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.options import CallOptions
from gearmanny.protocol.client import Request


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A background call that was made in eager mode."""

    function: str
    """The Gearman function, `"myworker_add"`."""
    arguments: dict[str, Any]
    """As they arrive at a worker: encoded and decoded again."""
    unique: str
    """The unique id of the job."""
    options: CallOptions
    """The options of the call, as `using()` set them."""


class Outbox(list[Sent]):
    """A list that is emptied for each test, where it can tell tests apart."""

    def __init__(self) -> None:
        super().__init__()
        self._current: Callable[[], object] | None = None
        self._test: object = None

    def tell_tests_by(self, current: Callable[[], object]) -> None:
        """Empties the list from now on when another test has begun.

        Args:
            current: returns an object that each test has its own of.
        """
        self._test = current()
        self._current = current

    def begin(self) -> None:
        """Empties the list if another test has begun."""
        test = self._test if self._current is None else self._current()
        if test is not self._test:
            self._test = test
            self.clear()


def _of_this_test(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    @functools.wraps(method)
    def call(self: Outbox, *arguments: Any) -> Any:
        self.begin()
        return method(self, *arguments)

    return call


# No test runner but pytest says when a test begins. So this is found out when the list is used.
for _name in (
    "append", "copy", "count", "index", "pop", "__contains__", "__eq__", "__getitem__", "__iter__",
    "__len__", "__ne__", "__repr__", "__reversed__",
):  # fmt: skip
    setattr(Outbox, _name, _of_this_test(_name))

outbox = Outbox()
"""The background calls that were made in eager mode, as Django's `mail.outbox` has the mails."""


def keep(call: Call[Any], request: Request) -> None:
    """Keeps a call in the outbox when it is one for the background.

    Args:
        call: the call.
        request: what is sent of it.
    """
    if request.background:
        arguments, unique = call.decode(request.payload), request.unique.decode()
        outbox.append(
            Sent(function=call.function, arguments=arguments, unique=unique, options=call.options)
        )
