"""Whether processes are healthy, by their signs of life."""

from __future__ import annotations

from gearmanny.running.diagnosis import Diagnosis, Examined
from gearmanny.running.orders import Stage
from gearmanny.running.pulse import Vitals


def examined(
    name: str = "a",
    stage: Stage = Stage.SERVING,
    *,
    beats: int | None,
    turns: int,
    connected: bool = True,
    runs_jobs: bool = False,
) -> Examined[str]:
    return Examined(name, "slot", stage, Vitals(beats, turns, connected), runs_jobs)


def test_a_process_that_beats_and_turns_is_alive_and_ready() -> None:
    diagnosis = Diagnosis[str](4.0)
    for now in range(100):
        report = diagnosis.look(["slot"], [examined(beats=now, turns=now // 5 + 1)], float(now))
        assert report == (1, [], [])


def test_one_that_does_not_beat_is_not_alive_also_while_it_runs_a_job() -> None:
    diagnosis = Diagnosis[str](4.0)
    found = [
        diagnosis.look(["slot"], [examined(beats=7, turns=3, runs_jobs=True)], float(now)).not_alive
        for now in range(6)
    ]
    assert found[:4] == [[]] * 4
    assert found[4] == found[5] == ["a has shown no sign of life for 4 s"]


def test_one_that_beats_but_does_not_turn_is_not_alive_unless_it_runs_a_job() -> None:
    for runs_jobs in (False, True):
        diagnosis = Diagnosis[str](4.0)
        for now in range(12):
            process = examined(beats=now + 1, turns=3, runs_jobs=runs_jobs)
            report = diagnosis.look(["slot"], [process], float(now))
        said = "a runs no job, and has not turned to its job servers for 10 s"
        assert report.not_alive == ([] if runs_jobs else [said])


def test_one_without_any_sign_is_named_once() -> None:
    diagnosis = Diagnosis[str](4.0)
    for now in range(20):
        report = diagnosis.look(["slot"], [examined(beats=1, turns=1)], float(now))
    assert report.not_alive == ["a has shown no sign of life for 4 s"]


def test_one_that_rests_or_has_not_begun_is_alive_and_one_that_leaves_is_nobodys_concern() -> None:
    diagnosis = Diagnosis[str](4.0)
    for now in range(20):
        processes = [
            examined("rests", beats=None, turns=7),
            examined("starts", Stage.STARTING, beats=now + 1, turns=0, connected=False),
            examined("leaves", Stage.LEAVING, beats=1, turns=1),
        ]
        assert diagnosis.look(["slot"], processes, float(now)).not_alive == []
    assert diagnosis.look(["slot"], processes, 20.0).processes == 2


def test_a_runner_is_ready_when_somebody_serves_in_every_slot_and_is_connected() -> None:
    def not_ready(*processes: Examined[str], slots: tuple[str, ...] = ("slot",)) -> object:
        return Diagnosis[str](4.0).look(slots, processes, 0.0).not_ready

    away = examined(beats=1, turns=1, connected=False)
    assert not_ready() == ["no process serves as slot"]
    assert not_ready(away._replace(stage=Stage.STARTING)) == ["no process serves as slot"]
    assert not_ready(away) == ["a is connected to no job server that answers"]
    assert not_ready(away, examined("b", Stage.REPLACING, beats=1, turns=1)) == []
    assert not_ready(away._replace(vitals=Vitals(None, 1, connected=False))) == []
    assert not_ready(examined(beats=1, turns=1), slots=()) == ["it is stopping"]
    assert not_ready(examined(beats=1, turns=1)._replace(slot="another")) == [
        "no process serves as slot"
    ]
