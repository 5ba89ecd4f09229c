"""The roster of a supervisor: every stage, every event in it, and the orders that follow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gearmanny.running import roster as module
from gearmanny.running.orders import Delay, GiveUp, Kill, Member, Stage, Start, Stop
from gearmanny.running.restarts import RestartTable
from gearmanny.running.roster import Roster

GRACE = 10.0
READY_TIMEOUT = 60.0
LONG = 1000.0
"""Seconds: a process that lived for so long is restarted at once."""


def new_roster(*slots: str, max_crashes: int | None = None, **options: Any) -> Roster[str]:
    table = RestartTable(max_crashes=max_crashes, random=lambda: 1.0)
    defaults = {"keep_alive": True, "grace": lambda slot: GRACE, "ready_timeout": READY_TIMEOUT}
    return Roster(slots or ("a",), table, **{**defaults, **options})


def started(roster: Roster[str], now: float = 0.0) -> list[Member[str]]:
    """Lets the roster start what is due; returns those that it starts."""
    return [order.member for order in roster.advance(now) if isinstance(order, Start)]


def serving(roster: Roster[str], now: float = 0.0) -> list[Member[str]]:
    """Lets the roster start what is due, and all of those serve."""
    members = started(roster, now)
    for member in members:
        roster.ready(member)
    return members


def replacing(roster: Roster[str], now: float = 0.0) -> tuple[Member[str], Member[str]]:
    """Returns a process that is being replaced since `now`, and its successor."""
    (member,) = serving(roster, now)
    roster.restart(now)
    (successor,) = started(roster, now)
    assert (member.stage, successor.stage) == (Stage.REPLACING, Stage.STARTING)
    return member, successor


def in_stage(roster: Roster[str], stage: Stage) -> Member[str]:
    """Returns the process of a roster of one slot, brought to a stage at time 0."""
    if stage is Stage.REPLACING:
        return replacing(roster)[0]
    (member,) = started(roster)
    if stage in (Stage.SERVING, Stage.OUTDATED):
        roster.ready(member)
    if stage is Stage.OUTDATED:
        roster.restart(0.0)
    if stage is Stage.LEAVING:
        roster.stop(0.0)
    assert member.stage is stage
    return member


class TestStarting:
    def test_each_slot_is_started_once_and_at_once(self) -> None:
        roster = new_roster("a", "b")
        assert [member.slot for member in started(roster, now=-5.0)] == ["a", "b"]
        assert roster.advance(1.0) == []
        assert not roster.done

    def test_one_that_cannot_be_started_is_tried_again_ever_later(self) -> None:
        roster = new_roster()
        delays = []
        now = 0.0
        for _ in range(3):
            (member,) = started(roster, now)
            delays.append(roster.not_started(member, now))
            assert roster.members == []
            assert not roster.done
            assert started(roster, now) == []
            assert roster.wakes_at(now) == now + delays[-1]
            now += delays[-1]
        assert delays == sorted(set(delays))
        assert len(started(roster, now)) == 1

    def test_one_that_is_ready_serves(self) -> None:
        roster = new_roster()
        (member,) = started(roster)
        assert member.stage is Stage.STARTING
        roster.ready(member)
        assert member.stage is Stage.SERVING

    @pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.STARTING])
    def test_being_ready_changes_no_other_stage(self, stage: Stage) -> None:
        roster = new_roster()
        member = in_stage(roster, stage)
        roster.ready(member)
        assert member.stage is stage

    def test_it_is_starting_until_all_serve_and_when_one_is_to_be_started_again(self) -> None:
        roster = new_roster("a", "b")
        assert roster.is_starting
        first, second = started(roster)
        roster.ready(first)
        assert roster.is_starting
        roster.ready(second)
        assert not roster.is_starting
        roster.end(first, 1.0, crashed=True)
        assert roster.is_starting


class TestStopping:
    @pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.LEAVING])
    def test_all_are_told_to_stop_and_nothing_is_started_any_more(self, stage: Stage) -> None:
        roster = new_roster()
        member = in_stage(roster, stage)
        orders = roster.stop(5.0)
        assert Stop(member) in orders
        assert [order.member for order in orders] == roster.members  # type: ignore[union-attr]
        assert {each.stage for each in roster.members} == {Stage.LEAVING}
        assert roster.advance(5.0) == []
        for each in list(roster.members):
            assert roster.end(each, 6.0, crashed=True) == []
        assert roster.done
        assert roster.all_well

    def test_before_anything_was_started_it_is_done(self) -> None:
        roster = new_roster()
        assert roster.stop(0.0) == []
        assert roster.done
        assert roster.wakes_at(0.0) is None

    def test_a_second_stop_kills(self) -> None:
        roster = new_roster("a", "b")
        first, second = serving(roster)
        roster.stop(0.0)
        assert roster.stop(1.0) == [Kill(first), Kill(second)]
        assert roster.wakes_at(1.0) is None

    def test_what_outlives_its_grace_is_killed_once(self) -> None:
        roster = new_roster()
        (member,) = serving(roster)
        roster.stop(5.0)
        assert roster.wakes_at(5.0) == 5.0 + GRACE
        assert roster.advance(14.9) == []
        assert roster.advance(15.0) == [Kill(member, overdue=True)]
        assert roster.advance(16.0) == []
        assert roster.wakes_at(16.0) is None

    def test_without_a_limit_the_grace_never_ends(self) -> None:
        roster = new_roster(grace=lambda slot: None)
        serving(roster)
        roster.stop(0.0)
        assert roster.wakes_at(0.0) is None
        assert roster.advance(1e9) == []

    def test_one_that_leaves_already_is_not_told_again(self) -> None:
        roster = new_roster()
        member, successor = replacing(roster)
        roster.ready(successor)
        assert roster.advance(1.0) == [Stop(member)]
        assert roster.stop(2.0) == [Stop(successor)]
        assert member.kill_at == 1.0 + GRACE


class TestEnding:
    @pytest.mark.parametrize("stage", [Stage.STARTING, Stage.SERVING, Stage.OUTDATED])
    @pytest.mark.parametrize("crashed", [True, False])
    def test_one_that_ends_by_itself_is_restarted_at_once(
        self, stage: Stage, crashed: bool
    ) -> None:
        roster = new_roster()
        member = in_stage(roster, stage)
        assert roster.end(member, LONG, crashed=crashed) == []
        (next_one,) = started(roster, LONG)
        assert next_one is not member
        assert next_one.slot == "a"

    def test_one_that_ends_soon_is_restarted_ever_later(self) -> None:
        roster = new_roster()
        (member,) = serving(roster)
        (delayed,) = roster.end(member, 1.0, crashed=True)
        assert isinstance(delayed, Delay)
        assert roster.wakes_at(1.0) == 1.0 + delayed.seconds
        assert started(roster, 1.0) == []
        (member,) = started(roster, 1.0 + delayed.seconds)
        (longer,) = roster.end(member, 2.0, crashed=False)
        assert isinstance(longer, Delay)
        assert longer.seconds > delayed.seconds

    def test_one_whose_successor_stays_is_not_restarted(self) -> None:
        roster = new_roster()
        member, successor = replacing(roster)
        assert roster.end(member, LONG, crashed=True) == []
        assert started(roster, LONG) == []
        assert roster.members == [successor]

    def test_a_successor_that_ends_is_restarted_while_the_other_serves(self) -> None:
        roster = new_roster()
        member, successor = replacing(roster)
        roster.end(successor, LONG, crashed=True)
        (second,) = started(roster, LONG)
        roster.ready(second)
        assert roster.advance(LONG) == [Stop(member)]

    def test_too_many_crashes_make_it_give_up_and_stop_the_others(self) -> None:
        roster = new_roster("a", "b", "c", max_crashes=2)
        bad, other, failing = serving(roster)
        assert not roster.end(failing, LONG, crashed=False)
        roster.end(bad, LONG, crashed=True)
        (failing, bad) = started(roster, LONG)
        assert roster.end(bad, LONG + 1, crashed=True) == [
            GiveUp("a"),
            Stop(other),
            Stop(failing),
        ]
        assert not roster.all_well
        for member in (other, failing):
            roster.end(member, LONG + 2, crashed=False)
        assert roster.done

    def test_a_stop_after_giving_up_is_the_first_one(self) -> None:
        roster = new_roster("a", "b", max_crashes=1)
        bad, other = serving(roster)
        assert roster.end(bad, LONG, crashed=True) == [GiveUp("a"), Stop(other)]
        assert roster.stop(LONG) == []
        assert roster.stop(LONG) == [Kill(other)]

    def test_a_crash_that_a_job_explains_does_not_count_and_delays_nothing(self) -> None:
        roster = new_roster(max_crashes=1)
        for moment in range(3):
            (member,) = serving(roster, float(moment))
            assert roster.end(member, float(moment), crashed=True, explained=True) == []
        assert started(roster, 2.0)
        assert roster.all_well

    @pytest.mark.parametrize("crashed", [True, False])
    def test_unless_kept_alive_nothing_is_restarted(self, crashed: bool) -> None:
        roster = new_roster("a", "b", keep_alive=False, max_crashes=1)
        first, second = serving(roster)
        assert roster.end(first, LONG, crashed=crashed) == []
        assert roster.end(second, LONG, crashed=False) == []
        assert roster.done
        assert roster.all_well is not crashed


class TestReplacing:
    def test_processes_are_replaced_one_after_another_each_when_its_successor_is_ready(
        self,
    ) -> None:
        roster = new_roster("a", "b")
        first, second = serving(roster)
        assert roster.restart(1.0) == []
        assert [first.stage, second.stage] == [Stage.OUTDATED, Stage.OUTDATED]
        (fresh,) = started(roster, 1.0)
        assert fresh.slot == "a"
        assert [first.stage, second.stage] == [Stage.REPLACING, Stage.OUTDATED]
        assert roster.advance(2.0) == []
        roster.ready(fresh)
        stop, start = roster.advance(3.0)
        assert stop == Stop(first)
        assert isinstance(start, Start)
        assert start.member.slot == "b"
        assert second.stage is Stage.REPLACING
        roster.ready(start.member)
        assert roster.advance(4.0) == [Stop(second)]
        assert roster.advance(5.0) == []

    def test_a_successor_that_is_outdated_itself_counts_as_ready(self) -> None:
        roster = new_roster()
        member, successor = replacing(roster)
        roster.ready(successor)
        roster.restart(1.0)
        assert successor.stage is Stage.OUTDATED
        stop, start = roster.advance(1.0)
        assert stop == Stop(member)
        assert isinstance(start, Start)
        assert successor.stage is Stage.REPLACING

    def test_one_that_does_not_serve_yet_is_stopped_and_started_anew(self) -> None:
        roster = new_roster()
        (member,) = started(roster)
        assert roster.restart(1.0) == [Stop(member)]
        (fresh,) = started(roster, 1.0)
        assert fresh.slot == "a"
        assert roster.end(member, 2.0, crashed=False) == []

    def test_a_delayed_start_is_not_brought_forward_by_a_restart(self) -> None:
        roster = new_roster()
        member, successor = replacing(roster)
        (delayed,) = roster.end(successor, 1.0, crashed=True)
        assert isinstance(delayed, Delay)
        roster.restart(1.0)
        assert member.stage is Stage.REPLACING
        assert started(roster, 1.0) == []
        assert len(started(roster, 1.0 + delayed.seconds)) == 1

    def test_what_leaves_is_not_replaced(self) -> None:
        roster = new_roster()
        in_stage(roster, Stage.LEAVING)
        assert roster.restart(1.0) == []
        assert roster.advance(1.0) == []

    def test_a_late_successor_keeps_others_waiting_no_longer(self) -> None:
        roster = new_roster("a", "b")
        first, second = serving(roster)
        roster.restart(0.0)
        (fresh,) = started(roster)
        assert roster.wakes_at(0.0) == READY_TIMEOUT
        assert roster.advance(READY_TIMEOUT - 0.1) == []
        (start,) = roster.advance(READY_TIMEOUT)
        assert isinstance(start, Start)
        assert start.member.slot == "b"
        assert [first.stage, second.stage] == [Stage.REPLACING, Stage.REPLACING]
        assert roster.wakes_at(READY_TIMEOUT) == 2 * READY_TIMEOUT
        roster.ready(fresh)
        assert roster.advance(READY_TIMEOUT + 1) == [Stop(first)]


class TestAsking:
    def test_one_that_asks_is_replaced(self) -> None:
        roster = new_roster()
        (member,) = serving(roster)
        assert roster.ask(member, 1.0) == []
        assert member.stage is Stage.OUTDATED
        (successor,) = serving(roster, 1.0)
        assert roster.advance(2.0) == [Stop(member)]
        assert roster.members == [member, successor]

    def test_one_that_asks_before_it_is_known_to_serve_is_replaced(self) -> None:
        roster = new_roster()
        (member,) = started(roster)
        assert roster.ask(member, 1.0) == []
        assert len(started(roster, 1.0)) == 1
        assert member.stage is Stage.REPLACING

    def test_without_a_successor_in_time_it_leaves_alone(self) -> None:
        roster = new_roster()
        (member,) = serving(roster)
        roster.ask(member, 0.0)
        started(roster)
        assert roster.advance(READY_TIMEOUT) == [Stop(member, late=True)]

    def test_one_that_asks_while_it_is_replaced_leaves_in_time_as_well(self) -> None:
        roster = new_roster()
        member, _ = replacing(roster)
        assert roster.ask(member, 1.0) == []
        assert member.stage is Stage.REPLACING
        assert roster.advance(READY_TIMEOUT) == [Stop(member, late=True)]

    @pytest.mark.parametrize("keep_alive", [True, False])
    def test_one_that_leaves_already_asks_in_vain(self, keep_alive: bool) -> None:
        roster = new_roster(keep_alive=keep_alive)
        member = in_stage(roster, Stage.LEAVING)
        assert roster.ask(member, 1.0) == []
        assert member.stage is Stage.LEAVING

    @pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.LEAVING])
    def test_unless_kept_alive_one_that_asks_is_stopped(self, stage: Stage) -> None:
        roster = new_roster(keep_alive=False)
        member = in_stage(roster, stage)
        assert roster.ask(member, 1.0) == [Stop(member)]
        assert member.stage is Stage.LEAVING


def stage_after(event: str, stage: Stage) -> str:
    """Returns what the table of the architecture says of a stage and an event."""
    roster = new_roster()
    member = in_stage(roster, stage)
    {
        "ready": lambda: roster.ready(member),
        "asks": lambda: roster.ask(member, LONG),
        "ends": lambda: roster.end(member, LONG, crashed=False),
        "SIGHUP": lambda: roster.restart(LONG),
        "SIGTERM": lambda: roster.stop(LONG),
    }[event]()
    changes = [] if member.stage is stage else [member.stage.name.lower()]
    has_its_turn = member.stage in (Stage.OUTDATED, Stage.REPLACING) and member in roster.members
    if not has_its_turn and started(roster, LONG):
        changes.append("started again")
    return ", ".join(changes)


def test_the_table_of_the_architecture_says_what_the_roster_does() -> None:
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| stage \|.*\n(?:\|.*\n)+", text, re.M)
    head, _, *rows = table.splitlines()
    events = [cell.strip() for cell in head.split("|")[2:-1]]
    shown = {row.split("|")[1].strip(): [c.strip() for c in row.split("|")[2:-1]] for row in rows}
    assert shown == {
        stage.name.lower(): [stage_after(event, stage) for event in events] for stage in Stage
    }


def test_the_drawing_in_the_module_shows_every_stage_once() -> None:
    drawing = (module.__doc__ or "").partition("::")[2].partition("\n\nA slot")[0]
    assert sorted(re.findall("[A-Z]{2,}", drawing)) == sorted(stage.name for stage in Stage)


def test_processes_that_cannot_run_end_the_others() -> None:
    roster = new_roster("a", "b")
    rejected, other = started(roster)
    assert not roster.has_served
    assert roster.reject(1.0) == [Stop(rejected), Stop(other)]
    assert not roster.all_well
    assert roster.end(rejected, 1.0, crashed=True) == []
    assert roster.end(other, 1.0, crashed=False) == []
    assert roster.done


def test_a_roster_knows_whether_anything_was_ever_served() -> None:
    roster = new_roster()
    (member,) = serving(roster)
    roster.end(member, 1.0, crashed=True)
    assert roster.has_served
