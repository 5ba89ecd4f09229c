"""The variables of functions that an exception came through, which would be kept with it."""

from __future__ import annotations

import contextlib
import dis
import inspect
import traceback
from types import FrameType

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

_YIELD = dis.opmap["YIELD_VALUE"]
"""The instruction at which generators and coroutines rest, in all versions of Python since 3.11."""


def clear_frames(error: BaseException) -> None:
    """Forgets the variables of the functions that an exception came through. They would be kept
    with the exception: by a handler of the log, or in a circle, until that is collected.

    Args:
        error: the exception, which is needed no more but to be printed.
    """
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        each = chain.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if not _may_go_on(frame):
                with contextlib.suppress(RuntimeError):  # it still runs
                    frame.clear()
        chain += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            chain += each.exceptions


def _may_go_on(frame: FrameType) -> bool:
    """Returns whether a frame may be that of a generator or coroutine that has caught the exception
    and rests: to clear it would close it."""
    if not frame.f_code.co_flags & _GENERATORS:
        return False
    return frame.f_lasti < 0 or frame.f_code.co_code[frame.f_lasti] == _YIELD
