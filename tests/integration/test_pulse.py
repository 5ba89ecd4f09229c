"""The sign of life of a process, and its stacks, in memory and files that it shares."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from gearmanny.running.pulse import Pulse
from gearmanny.running.stacks import SIGNAL, Stacks
from tests.support.servers import until


def in_child(life: Callable[[], object]) -> int:
    """Runs a function in a forked process, and returns its pid."""
    child = os.fork()
    if not child:
        try:
            life()
        finally:
            os._exit(1)
    return child


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_beats_until_it_is_stopped() -> None:
    pulse = Pulse()
    assert pulse.count is None

    def life() -> None:
        pulse.start(0.01)
        threading.Event().wait()

    child = in_child(life)
    until(lambda: (pulse.count or 0) > 2, "three beats")
    os.kill(child, signal.SIGSTOP)
    os.waitpid(child, os.WUNTRACED)
    before = pulse.count
    os.kill(child, signal.SIGCONT)
    until(lambda: (pulse.count or 0) > (before or 0), "another beat")
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    pulse.close()


def test_a_process_that_forks_has_no_thread_then_and_beats_again_when_told_to() -> None:
    pulse = Pulse()

    def life() -> None:
        pulse.start(0.01)
        grandchild = in_child(lambda: os._exit(threading.active_count()))
        alone = exit_code(grandchild) == threading.active_count() == 1 and pulse.count is None
        pulse.resume()
        os._exit(0 if alone and threading.active_count() == 2 and pulse.count else 1)

    assert exit_code(in_child(life)) == 0


def test_a_process_writes_its_stacks_again_and_again_but_not_those_it_forks() -> None:
    stacks = Stacks()
    reader, writer = os.pipe()

    def wait_for_signals() -> None:
        stacks.write_on_signal()
        os.write(writer, b"%d\n" % in_child(threading.Event().wait))
        threading.Event().wait()

    child = in_child(wait_for_signals)
    grandchild = int(os.read(reader, 100))
    for _ in range(2):
        os.kill(child, SIGNAL)
        text: list[str] = []

        def is_written(text: list[str] = text) -> bool:
            text.append(stacks.take())
            return "in wait_for_signals" in "".join(text)

        until(is_written, "stacks")
    os.kill(grandchild, SIGNAL)  # which ends it, as any program
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    assert "in wait_for_signals" not in stacks.take()
    stacks.close()
    os.close(reader)
    os.close(writer)
