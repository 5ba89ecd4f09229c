"""The steps of hooks around a job.

The steps are written once. `HookStack` takes them around a plain task, and `asynchooks.py` around a
coroutine. They differ in how a hook of the other kind is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from gearmanny.errors import RejectJob
from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.payload.failures import message_of, type_name
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.frames import clear_frames
from gearmanny.working.hooks import Hook, is_synchronous, name_of
from gearmanny.working.interrupts import is_failure

logger = logging.getLogger("gearmanny.worker")


class Enter(NamedTuple):
    """A step: enter the context of a hook. Its result is that context."""

    hook: Hook
    job: GearmanJob


class Leave(NamedTuple):
    """A step: leave a context. Its result is whether it wants to hide the error."""

    hook: Hook
    context: Any
    error: BaseException | None

    @property
    def arguments(self) -> tuple[Any, Any, Any]:
        """The arguments of `__exit__` and `__aexit__`."""
        error = self.error
        return (type(error), error, error.__traceback__) if error else (None, None, None)


Steps = Generator[Enter | Leave, Any, None]


def _taken(step: Enter | Leave) -> Generator[Enter | Leave, Any, Any]:
    """Yields a step, and returns its result. A child that the hook forked ends on its way out."""
    forks = this_process.forks
    try:
        result = yield step
    except BaseException:
        if this_process.forks != forks:
            end_as_a_program()
        raise
    if this_process.forks != forks:
        end_as_a_program()
    return result


class HookSteps:
    """The steps to be taken before and after one job."""

    def __init__(self, hooks: Sequence[Hook], job: GearmanJob) -> None:
        self._hooks = hooks
        self._job = job
        self._entered: list[tuple[Hook, object]] = []

    def entering(self) -> Steps:
        """Yields the steps before the job. Raises RejectJob when a hook does."""
        for hook in self._hooks:
            try:
                self._entered.append((hook, (yield from _taken(Enter(hook, self._job)))))
            except RejectJob as rejection:
                yield from self.leaving(rejection)
                raise
            except BaseException as failure:
                if not is_failure(failure):
                    yield from self.leaving(failure)
                    raise
                self._log_failure(hook, failure)

    def leaving(self, error: BaseException | None) -> Steps:
        """Yields the steps after the job, which ended with an error, or None."""
        outcome = error
        while self._entered:
            hook, context = self._entered.pop()
            try:
                swallowed = yield from _taken(Leave(hook, context, error))
            except BaseException as failure:
                if failure is error:  # a context may raise anew what it was left with
                    continue
                if is_failure(failure):
                    self._log_failure(hook, failure)
                else:
                    error = failure
            else:
                if swallowed and error is not None:
                    self._log(hook, "wanted to hide %s: a hook cannot", type_name(error))
        if error is not None and error is not outcome:
            raise error

    def _log_failure(self, hook: Hook, failure: BaseException) -> None:
        self._log(hook, "failed: %s: %s", type_name(failure), message_of(failure), exc_info=failure)
        clear_frames(failure)

    def _log(self, hook: Hook, what: str, *arguments: str, **options: Any) -> None:
        logger.error(
            f"the hook %s around %s {what}",
            name_of(hook),
            self._job.task,
            *arguments,
            extra={"action": "hook_failed", "function": self._job.task, "handle": self._job.handle},
            **options,
        )


class HookStack:
    """The hooks around a plain task, entered and left with it."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        job: GearmanJob,
        await_: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        """
        Args:
            hooks: the hooks.
            job: the job.
            await_: returns what a coroutine returns. Needed where a context is only asynchronous.
        """
        self._steps = HookSteps(hooks, job)
        self._await = await_

    def __enter__(self) -> None:
        """Raises RejectJob when a hook does."""
        self._take(self._steps.entering())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._take(self._steps.leaving(error))

    def _take(self, steps: Steps) -> None:
        step = next(steps, None)
        while step is not None:
            try:
                result = self._enter(step) if isinstance(step, Enter) else self._leave(step)
            except BaseException as error:
                step = after_error(steps, error)
            else:
                step = after_result(steps, result)

    def _enter(self, step: Enter) -> object:
        context: Any = step.hook(step.job)
        if is_synchronous(context):
            context.__enter__()
        else:
            self._await(context.__aenter__())
        return context

    def _leave(self, step: Leave) -> object:
        if is_synchronous(step.context):
            return step.context.__exit__(*step.arguments)
        return self._await(step.context.__aexit__(*step.arguments))


def after_result(steps: Steps, result: object) -> Enter | Leave | None:
    """Returns the next step; None after the last one.

    Args:
        steps: the steps.
        result: of the last step that was taken.
    """
    try:
        return steps.send(result)
    except StopIteration:
        return None


def after_error(steps: Steps, error: BaseException) -> Enter | Leave | None:
    """Returns the next step; None after the last one.

    Args:
        steps: the steps.
        error: raised by the last step that was taken.

    Raises:
        BaseException: the error, where it ends the steps.
    """
    try:
        return steps.throw(error)
    except StopIteration:
        return None
