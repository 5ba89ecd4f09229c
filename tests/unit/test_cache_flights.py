"""Flights: one caller computes an answer, and the others wait for it."""

from __future__ import annotations

import os

import pytest

from gearmanny.helpers.flights import Flights


def test_the_first_one_computes_and_the_others_get_a_copy() -> None:
    flights = Flights()
    flight, leads = flights.board("k")
    assert leads
    assert [flights.board("k"), flights.board("k")] == [(flight, False)] * 2
    flights.land(flight, {"a": [1]})
    assert flight.landed.result(0) == '{"a": [1]}'
    assert flights.board("k")[1]


def test_flights_of_other_keys_are_others() -> None:
    flights = Flights()
    assert flights.board("a")[0] is not flights.board("b")[0]


def test_a_failure_is_that_of_all() -> None:
    flights = Flights()
    flights.board("k")
    flight, _ = flights.board("k")
    flights.fail(flight, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        flight.landed.result(0)


def test_after_an_interruption_somebody_else_computes() -> None:
    flights = Flights()
    flights.board("k")
    flight, _ = flights.board("k")
    flights.abandon(flight)
    assert flight.landed.result(0) is None
    assert flights.board("k")[1]
    flights.abandon(flight)
    flights.abandon(flight)  # which nobody began


def test_an_answer_that_nobody_waits_for_is_not_copied() -> None:
    flights = Flights()
    flight, _ = flights.board("k")
    flights.land(flight, object())  # which could not be
    assert not flight.landed.done()


def test_one_who_waits_cannot_cancel_the_others() -> None:
    flights = Flights()
    flight, _ = flights.board("k")
    assert not flight.landed.cancel()


def test_nobody_boards_alone_where_somebody_computes_or_while_it_is_not_time() -> None:
    flights = Flights()
    flight = flights.board_alone("k", 10.0)
    assert flight
    assert flights.board_alone("k", 10.0) is None
    flights.rest("k", 10.0, 12.0)
    flights.abandon(flight)
    assert flights.board_alone("k", 11.0) is None
    assert flights.board_alone("other", 11.0)
    assert flights.board_alone("k", 12.0)
    flights.rest("another", 13.0, 14.0)
    assert set(flights._rests) == {"another"}


def test_a_forked_child_does_not_wait_for_the_threads_of_its_parent() -> None:
    flights = Flights()
    flights.board("k")
    with flights._changing:  # as if a thread had it
        child = os.fork()
        if child == 0:
            os._exit(0 if flights.board("k")[1] else 1)
    assert os.waitpid(child, 0)[1] == 0
