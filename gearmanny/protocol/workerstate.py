"""The states of the worker side of one connection.

A worker asks for jobs (GRAB_JOB_UNIQ). Each question is answered by a job, or by
NO_JOB. After NO_JOB nothing more is asked; once every question is answered the
worker says that it sleeps (PRE_SLEEP), and one NOOP wakes it when there is
something to grab. With one question at a time::

                  grab()                  JOB_ASSIGN_UNIQ
        AWAKE ──────────────► ASKING ───────────────────────► AWAKE, and holds a job
          ▲                     │
          │ NOOP, wake()        │ NO_JOB: PRE_SLEEP
          └────── ASLEEP ◄──────┘

Several questions may be under way at once. That is the whole table, in which
"last" marks the answer to the only question that is left:

    ========  ========  =======  ========  ========  ========  ===========
    state     ASK       CALL     JOB       LAST_JOB  NO_JOB    LAST_NO_JOB
    ========  ========  =======  ========  ========  ========  ===========
    AWAKE     ASKING    AWAKE    -         -         -         -
    ASKING    ASKING    ASKING   ASKING    AWAKE     DRAINING  ASLEEP
    DRAINING  -         ASKING   DRAINING  ASLEEP    DRAINING  ASLEEP
    ASLEEP    -         AWAKE    -         -         -         -
    ========  ========  =======  ========  ========  ========  ===========

A dash is a question that is not asked, or an answer to none, which is an error
of the job server. PRE_SLEEP is sent where ASLEEP is entered. How many questions
are under way, and which jobs are held, is counted beside: jobs may be held in
every state.
"""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """Whether a worker asks for jobs. The jobs that it holds do not change that."""

    AWAKE = enum.auto()
    """There may be something to grab, and nothing is asked."""
    ASKING = enum.auto()
    """Questions are under way, and more may be asked."""
    DRAINING = enum.auto()
    """One question brought no job. Nothing more is asked until the others are answered."""
    ASLEEP = enum.auto()
    """There was no job. The job server calls when there is one."""


class Input(enum.IntEnum):
    """An event that changes the state of a worker."""

    ASK = enum.auto()
    """`grab()` asks for jobs."""
    CALL = enum.auto()
    """NOOP, or `wake()`: there may be something to grab."""
    JOB = enum.auto()
    """A job; other questions are still under way."""
    LAST_JOB = enum.auto()
    """A job, which answers the last question."""
    NO_JOB = enum.auto()
    """No job; other questions are still under way."""
    LAST_NO_JOB = enum.auto()
    """No job, which answers the last question."""


TRANSITIONS = {
    State.AWAKE: {Input.ASK: State.ASKING, Input.CALL: State.AWAKE},
    State.ASKING: {
        Input.ASK: State.ASKING,
        Input.CALL: State.ASKING,
        Input.JOB: State.ASKING,
        Input.LAST_JOB: State.AWAKE,
        Input.NO_JOB: State.DRAINING,
        Input.LAST_NO_JOB: State.ASLEEP,
    },
    State.DRAINING: {
        Input.CALL: State.ASKING,
        Input.JOB: State.DRAINING,
        Input.LAST_JOB: State.ASLEEP,
        Input.NO_JOB: State.DRAINING,
        Input.LAST_NO_JOB: State.ASLEEP,
    },
    State.ASLEEP: {Input.CALL: State.AWAKE},
}
"""The state that follows each state and input. A test compares it with the table above."""


class Calls:
    """Counts the calls of the job server that brought no job."""

    def __init__(self) -> None:
        self.in_vain = 0
        """How many in a row."""
        self.called = False
        """Whether there was a call that was neither in vain nor brought a job, so far."""

    def bring_job(self) -> None:
        """Notes a job."""
        self.in_vain = 0
        self.called = False

    def bring_nothing(self) -> None:
        """Notes that every question is answered, the last one without a job."""
        self.in_vain += self.called
        self.called = False


class Sleepiness:
    """Guesses whether a question will bring no job.

    Where jobs come one by one, the question after each is answered by NO_JOB. As soon as that is
    seen, PRE_SLEEP leaves together with that question, which saves a send for every job. A wrong
    guess costs a NOOP too many.
    """

    def __init__(self) -> None:
        self.has_job_done = False
        """Whether a job was answered after the last question."""
        self.said = False
        """Whether PRE_SLEEP left together with the question that is under way."""
        self._follows_answer = False
        """Whether the question that is under way followed the answer to a job."""
        self._one_by_one = False
        """Whether the last question that followed an answer brought no job."""

    def asks(self) -> bool:
        """Returns whether PRE_SLEEP shall leave together with a question."""
        self._follows_answer, self.has_job_done = self.has_job_done, False
        self.said = self._follows_answer and self._one_by_one
        return self.said

    def answered(self, brought_job: bool) -> None:
        """Notes the answer to a question.

        Args:
            brought_job: whether it was a job.
        """
        if self._follows_answer:
            self._one_by_one = not brought_job
