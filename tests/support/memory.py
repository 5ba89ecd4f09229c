"""Programs with little memory, for tests of what happens when there is not enough."""

from __future__ import annotations

import contextlib
import os
import resource
import traceback
from collections.abc import Callable

MIB = 2**20


def address_space() -> int:
    """Returns the bytes of address space that this process uses."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


_fillers: list[bytes] = []


def limit_memory(room: int) -> None:
    """Lets this process take so many bytes more, and no further ones."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space(), hard))
    with contextlib.suppress(MemoryError):  # what was freed before counts as taken
        while True:
            _fillers.append(bytes(MIB))
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + room, hard))


def fork(run: Callable[[], object]) -> int:
    """Runs a function in a child; returns its process id. The exit code is 0 when it returns."""
    child = os.fork()
    if not child:
        code = 1
        try:
            run()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    """Waits for a child; returns its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_with_little_memory(room: int, run: Callable[[], object]) -> None:
    """Runs a function in a child that may take so many bytes; fails when it raises."""

    def limited() -> None:
        limit_memory(room)
        run()

    assert exit_code(fork(limited)) == 0
