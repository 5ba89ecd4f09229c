"""The lock that a process holds while it lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from gearmanny.errors import GearmanException
from gearmanny.net.forks import keep_from_children
from gearmanny.records.processes import Liveness
from gearmanny.records.session import Session
from gearmanny.records.templates import LOCK_CLASS
from gearmanny.records.values import Process

_LOCK = f"SELECT pg_try_advisory_lock({LOCK_CLASS}, %s::integer)"
_UNLOCK = f"SELECT pg_advisory_unlock({LOCK_CLASS}, %s::integer)"
_KEYS = 10
"""How many keys are tried before the database is suspected: one of two billion is taken."""


class Presence:
    """This process, which is known to be alive by signs of life alone.

    Attributes:
        process: as it is registered.
        liveness: how others see that it is alive.
        lock_key: of its advisory lock, if it has one.
    """

    liveness = Liveness.LEASE
    lock_key: int | None = None

    def __init__(self, process: Process) -> None:
        self.process = process

    def hold(self, session: Session) -> bool:
        """Takes the lock on a connection that was made, or made anew; returns whether it is
        held."""
        return True

    def release(self, session: Session) -> None:
        """Gives the lock back."""


class AdvisoryLock(Presence):
    """The presence of a process whose session on PostgreSQL is its own."""

    liveness = Liveness.LOCK

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._held_by: Session | None = None

    def hold(self, session: Session) -> bool:
        if self._held_by is session:
            return True
        for _ in range(_KEYS):
            chosen = secrets.randbits(31) if self.lock_key is None else self.lock_key
            if session.rows(_LOCK, chosen)[0][0]:
                self.lock_key = chosen
                self._held_by = session
                return True
            if self.lock_key is not None:  # the database has not noticed yet that we were gone
                return False
        raise GearmanException("No advisory lock is free: is this PostgreSQL?")

    def release(self, session: Session) -> None:
        if self._held_by is session:
            session.rows(_UNLOCK, self.lock_key)
        self._held_by = None


class FileLock(Presence):
    """The presence of a process on the host where the database, a file, is."""

    liveness = Liveness.FLOCK

    def __init__(self, process: Process, folder: Path) -> None:
        super().__init__(process)
        self._path = lock_file(folder, process.id)
        self._descriptor = -1

    def hold(self, session: Session) -> bool:
        if self._descriptor >= 0 and self._path.exists():
            return True
        self._close()
        self._path.parent.mkdir(exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # A child has the lock as long as it has the file, and may outlive this process.
        keep_from_children(self)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return True

    def fileno(self) -> int:
        """Returns the descriptor of the file; -1 once it is closed."""
        return self._descriptor

    def release(self, session: Session) -> None:
        forget_lock(self._path)
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def lock_file(folder: Path, id: str) -> Path:
    """Returns the file that a process locks while it lives."""
    return folder / id


def is_locked(path: Path) -> bool:
    """Returns whether somebody has locked a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two that look do not take each other for its owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def forget_lock(path: Path) -> None:
    """Removes the file of a dead process."""
    with contextlib.suppress(OSError):
        path.unlink()
