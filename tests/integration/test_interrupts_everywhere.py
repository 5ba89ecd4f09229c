"""Interrupts at every moment of a call, while another thread waits for an answer beside it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

from gearmanny.calling.handover import Receive
from gearmanny.calling.line import Wait
from gearmanny.client import AsyncClient, WorkResult
from gearmanny.errors import GearmanException
from gearmanny.net.hosts import Host, Servers
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, Server, until, working
from tests.unit.steps import A
from tests.unit.test_handover import FakeAside, FakeSender, handing, job, uniques

_MODULES = (
    "blocking/channel.py",
    "blocking/turns.py",
    "blocking/driver.py",
    "calling/handover.py",
    "protocol/client.py",
)
"""Where they arrive: taking events in, handing turns on, the queues of waiters."""

_interrupt: Any = ctypes.pythonapi.PyErr_SetInterrupt
_interrupt.argtypes = [ctypes.py_object] * 3  # a trace function, written in C: so nothing of it
_interrupt.restype = None  # is interrupted, but what runs after it


_STRIDE = int(os.environ.get("GEARMANNY_TEST_STRIDE", "9"))
"""Every so many bytecodes one is interrupted, beginning anywhere; with 1, all of them."""

_MOST = 1500
"""Bytecodes of a call. It has fewer, unless it waits in a loop because the machine is busy."""


class Gated(BaseWorker):
    name = "gated"
    gate = threading.Event()

    def task_pass(self, n: int) -> int:
        assert self.gate.wait(PATIENCE)
        return n


class Interrupter:
    """Sets the signal of Ctrl-C just before one bytecode: Python raises it where it looks next."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.endswith(_MODULES):
            return None
        if event == "line":  # where CPython 3.13.0 heeds it, and again after other threads ran
            frame.f_trace_opcodes = True
        elif event == "opcode":
            self.left -= 1
            if self.left == 0:
                return _interrupt
        return self if self.left > 0 else None


def interrupt(at: int, call: Callable[[], object]) -> bool:
    """Interrupts a call at a bytecode; returns whether it has that many."""
    interrupter = Interrupter(at)
    try:
        sys._getframe().f_trace_opcodes = True  # CPython 3.12 has to know before it begins to trace
        sys.settrace(interrupter)
        call()
        for _ in range(10):  # Python looks at signals here, also for the last bytecodes
            pass
    except (KeyboardInterrupt, GearmanException):
        pass
    finally:
        sys.settrace(None)
    return interrupter.left <= 0


def stop(number: int, frame: FrameType | None) -> None:
    """Handles the signal, and sees to it that it is the only one."""
    sys.settrace(None)
    while frame is not None:
        frame.f_trace = None
        frame = frame.f_back
    raise KeyboardInterrupt


def forget_exceptions_of_ended_threads() -> None:
    """Forgets that an asynchronous exception waits for a thread which cannot take it any more, as
    tests of time limits leave some. While one waits, CPython 3.11 calls no function that is traced:
    it looks for the exception again and again. To take one of our own ends that."""

    class Taken(Exception):
        pass

    with contextlib.suppress(Taken):
        ident = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(Taken))
        for _ in range(1000):
            pass


@pytest.fixture
def interruptible() -> Iterator[None]:
    forget_exceptions_of_ended_threads()
    previous = signal.signal(signal.SIGINT, stop)
    gc.collect()  # what others left: Python ignores an interrupt of what runs when that is freed
    gc.disable()
    yield
    gc.enable()
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def client(interruptible: None, gearman_server: Server) -> Iterator[AsyncClient]:
    with working(Gated([gearman_server.host])), AsyncClient([gearman_server.host]) as client:
        yield client


class Other:
    """A thread that waits for a work object."""

    def __init__(self, work: WorkResult) -> None:
        self.outcome: object = None
        self._work = work
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._work.get_result(timeout=PATIENCE)
        except Exception as error:
            self.outcome = error


def direct(work: WorkResult, first: str, main_is_done: threading.Event) -> Callable[[], Other]:
    """Lets the answers come when one thread reads and the other one waits; returns what waits for
    that and returns the other one."""
    turns = work._call.line._reading
    others = [Other(work)] if first == "other" else []

    def run() -> None:
        until(lambda: turns.taken or main_is_done.is_set(), "a reader")
        if not others:
            others.append(Other(work))
        until(
            lambda: turns._waiting or main_is_done.is_set() or not others[0].thread.is_alive(),
            "another thread",
        )
        Gated.gate.set()

    director = threading.Thread(target=run, daemon=True)
    director.start()
    if first == "other":
        until(lambda: turns.taken, "the other thread reading")

    def other() -> Other:
        director.join(PATIENCE)
        return others[0]

    return other


@pytest.mark.parametrize("first", ["main", "other"])
def test_another_thread_that_waits_gets_an_answer_or_an_error(
    client: AsyncClient, first: str
) -> None:
    at, more = -random.randrange(_STRIDE), True
    while more and at < _MOST:
        at += _STRIDE
        Gated.gate.clear()
        works = [client.gated_pass(n=n) for n in range(3)]
        channel = works[0]._call.line
        main_is_done = threading.Event()
        find_other = direct(works[0], first, main_is_done)
        more = interrupt(at, partial(works[1].get_result, timeout=PATIENCE))
        main_is_done.set()
        other = find_other()
        other.thread.join(PATIENCE)
        assert not other.thread.is_alive(), at
        assert other.outcome == 0 or isinstance(other.outcome, GearmanException), at
        for work, n in ((works[1], 1), (works[2], 2)):
            with contextlib.suppress(GearmanException):
                assert work.get_result(timeout=PATIENCE) == n
        assert not channel._lock.locked(), at
        assert channel.error is not None or not channel._reading.taken, at
        assert client.gated_pass(n=at).get_result(timeout=PATIENCE) == at
    assert at > 100


def test_another_thread_can_send_after_it(client: AsyncClient) -> None:
    at, more = -random.randrange(_STRIDE), True
    Gated.gate.set()
    # A socket that is given to nobody yet when an interrupt arrives, is closed by Python.
    client.gated_pass(n=0).get_result(timeout=PATIENCE)
    while more and at < _MOST:
        at += _STRIDE
        more = interrupt(at, partial(client.using(timeout=PATIENCE).call, "gated_pass", n=0))
        other = Other(client.gated_pass(n=at))
        other.thread.join(PATIENCE)
        assert other.outcome == at
    assert at > 100


class Renewing(FakeAside):
    """Makes another connection each time."""

    def connect(self, host: Host, servers: Servers, receive: Receive) -> Wait:
        self.up[host] = FakeSender()
        return super().connect(host, servers, receive)


@pytest.mark.parametrize("is_connected", [False, True])
@pytest.mark.usefixtures("interruptible")
def test_recorded_jobs_are_handed_over_after_it(is_connected: bool) -> None:
    at, more = -random.randrange(_STRIDE), True
    while more and at < _MOST:
        at += _STRIDE
        aside = Renewing()
        hand_over = handing(aside, A)
        if is_connected:
            hand_over([job()])
        more = interrupt(at, partial(hand_over, [job()]))
        hand_over([one := job()])
        hand_over([two := job()])  # where a connection was given up, the one before made another
        sender = aside.up[A]
        assert isinstance(sender, FakeSender)
        arrived = sender.uniques
        assert {*uniques(two)} <= {*arrived}, at
        assert {*uniques(one)} <= {*arrived}, at
        assert not hand_over._is_busy, at
    assert at > 100
