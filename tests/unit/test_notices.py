"""Notices from a runner to its dispatcher."""

from __future__ import annotations

import contextlib

from gearmanny.dispatching.notices import pipe


def test_notices_arrive_together_and_the_end_of_the_pipe_is_known() -> None:
    receiver, sender = pipe()
    with contextlib.closing(receiver):
        assert receiver.receive() == {}
        sender.send(7, ordered=True)
        sender.send(8, ordered=False)
        assert receiver.receive() == {7: True, 8: False}
        assert not receiver.is_closed
        sender.send(9, ordered=False)
        sender.close()
        assert receiver.receive() == {9: False}
        assert receiver.is_closed
        assert sender.fileno() == -1


def test_a_runner_never_waits_for_its_dispatcher() -> None:
    receiver, sender = pipe()
    with contextlib.closing(sender):
        with contextlib.closing(receiver):
            for pid in range(100_000):  # there is no room for all of them
                sender.send(pid, ordered=False)
            heard = receiver.receive()
        assert 0 < len(heard) < 100_000
        assert list(heard) == list(range(len(heard)))
        sender.send(1, ordered=False)  # nobody hears it
