"""Many callers want one answer at once: in threads, coroutines and processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import PATIENCE, end

SCRIPT = Path(__file__).with_name("stampede_script.py")
PROCESSES, THREADS = 8, 8


class Stampede:
    """Processes that have begun to call, and what they said so far."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self.processes = processes
        self.computing: list[int] = []
        self.began = threading.Event()
        self._read = ThreadPoolExecutor(len(processes))
        self._answers = [self._read.submit(self._listen, each) for each in processes]

    def _listen(self, process: subprocess.Popen[str]) -> list[Any] | None:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("computing"):
                self.computing.append(int(line.split()[1]))
                self.began.set()
            else:
                answers: list[Any] = json.loads(line)
                return answers
        return None

    def answers(self) -> list[list[Any] | None]:
        """The answer that each process got; None for one that was killed."""
        return [each.result(PATIENCE * 3) for each in self._answers]


@pytest.fixture
def stampede(mongodb_uri: str, unique_name: str) -> Iterator[Callable[[float | Path], Stampede]]:
    with contextlib.ExitStack() as stack:

        def begin(seconds: float | Path) -> Stampede:
            processes = [
                subprocess.Popen(
                    [
                        *(sys.executable, str(SCRIPT), mongodb_uri, unique_name),
                        *(str(THREADS), str(seconds)),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(PROCESSES)
            ]
            for process in processes:
                stack.callback(end, process)
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()
            return Stampede(processes)

        yield begin


def test_of_64_callers_in_8_processes_one_computes(stampede: Callable[[float], Stampede]) -> None:
    begun = stampede(1.0)
    assert begun.answers() == [[{"n": 7}] * THREADS] * PROCESSES
    assert len(begun.computing) == 1


def test_a_computation_longer_than_its_lease_stays_the_only_one(
    stampede: Callable[[float], Stampede],
) -> None:
    begun = stampede(5.0)
    assert begun.answers() == [[{"n": 7}] * THREADS] * PROCESSES
    assert len(begun.computing) == 1


def test_when_the_process_that_computes_is_killed_another_one_does_it(
    stampede: Callable[[float | Path], Stampede], tmp_path: Path
) -> None:
    begun = stampede(tmp_path / "hanging")
    assert begun.began.wait(PATIENCE)
    killed = begun.computing[0]
    os.kill(killed, signal.SIGKILL)
    answers = begun.answers()
    assert [answer for answer in answers if answer is not None] == [[{"n": 7}] * THREADS] * (
        PROCESSES - 1
    )
    assert len(begun.computing) == 2
    assert begun.computing[1] != killed
