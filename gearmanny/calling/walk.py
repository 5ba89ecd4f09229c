"""Steps on their way: what a driver has to do with a generator of steps, apart from the steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeVar

S = TypeVar("S")
R = TypeVar("R")


class Walk(Generic[S, R]):
    """A generator of steps that a driver carries out, one after the other, until there are none."""

    __slots__ = ("_steps", "result", "step")

    result: R
    """The result of the steps, once there are none left."""

    def __init__(self, steps: Generator[S, Any, R]) -> None:
        """
        Args:
            steps: begun here.

        Raises:
            Exception: any that the steps raise before the first of them.
        """
        self._steps = steps
        self.step: S | None = None
        """The one to be carried out; None where there are none left."""
        self.answer(None)

    def answer(self, answer: Any) -> None:
        """Goes on to the next step.

        Args:
            answer: what came of this one.

        Raises:
            Exception: any that the steps end with.
        """
        self.step = None
        try:
            self.step = self._steps.send(answer)
        except StopIteration as end:
            self.result = end.value

    def fail(self, error: BaseException) -> None:
        """Goes on to the next step, if there is one after an error.

        Args:
            error: what this step failed with.

        Raises:
            BaseException: the error, or another one, where the steps end with it.
        """
        self.step = None
        try:
            self.step = self._steps.throw(error)
        except StopIteration as end:
            self.result = end.value

    def close(self) -> None:
        """Ends the steps, where they are left early."""
        self._steps.close()
