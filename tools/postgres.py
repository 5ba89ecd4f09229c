"""A real PostgreSQL for tests, chaos and benchmarks, with a cluster in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from gearmanny.net.loopback import free_port
from tools.processes import PATIENCE, find_program, until

_USER = "tests"


class Postgres:
    """A PostgreSQL server of the program's own, on a port of 127.0.0.1 that it keeps over restarts.

    A context manager. What it stores lasts until the block ends.

    Attributes:
        port: a free one.
    """

    def __init__(self, *settings: str) -> None:
        """
        Args:
            settings: more of its configuration, such as `"fsync=on"`.
        """
        self._settings = settings
        self._programs = Path(find_program("postgres", "postgresql")).resolve().parent
        self.port = free_port()
        # Any user of this machine can reach the port, and a superuser of the database can run
        # programs as the user who runs the server.
        self._password = secrets.token_hex()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="gearmanny-postgres-"))
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # whom PostgreSQL refuses to be run by
            user = pwd.getpwnam("nobody")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        try:
            self._make_cluster()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def dsn(self) -> str:
        """How psycopg connects to the database `postgres`, as a superuser."""
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=_USER,
            password=self._password,
            dbname="postgres",
        )

    def settings(self, name: str = "postgres", **options: Any) -> dict[str, Any]:
        """Returns an entry of Django's DATABASES.

        Args:
            name: of the database.
            options: more of the entry, such as `OPTIONS={"pool": True}`.
        """
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "USER": _USER,
            "PASSWORD": self._password,
            "NAME": name,
            **options,
        }

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[dict[str, Any]]:
        """Creates a database, and drops it when the block ends, whoever is still connected to it.

        Yields:
            Its entry of Django's DATABASES.
        """
        database = sql.Identifier(name)
        self.execute(sql.SQL("CREATE DATABASE {}").format(database))
        try:
            yield self.settings(name)
        finally:
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))

    def execute(self, query: sql.SQL | sql.Composed) -> None:
        """Executes a query in the database `postgres`, outside of a transaction."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(query)

    def start(self) -> None:
        """Starts it, and returns when it answers a query."""
        log = self._folder / "log"
        with log.open("ab") as output:
            process = self._process = self._run(
                *("postgres", "-D", "data", "-p", str(self.port), "-h", "127.0.0.1"),
                *("-k", str(self._folder)),
                # What it stores need not survive the machine.
                *("-c", "fsync=off", "-c", "full_page_writes=off"),
                *(part for setting in self._settings for part in ("-c", setting)),
                output=output,
            )

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                self.execute(sql.SQL("SELECT 1"))
            except psycopg.OperationalError:
                return False
            return True

        until(answers, "PostgreSQL answering")

    def stop(self) -> None:
        """Ends it as a crash would: all connections break, and nothing is waited for."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its own processes notice, and end too
            self._process.wait()
        self._process = None

    def restart(self, *, as_standby: bool = False) -> None:
        """Stops and starts it: all connections break.

        Args:
            as_standby: whether it is read-only from then on, until it is promoted.
        """
        self.stop()
        if as_standby:
            (self._folder / "data" / "standby.signal").touch()
        self.start()

    def _make_cluster(self) -> None:
        password, log = self._folder / "password", self._folder / "initdb.log"
        password.write_text(self._password)
        password.chmod(0o644)  # the folder is closed to others
        with log.open("wb") as output:
            made = self._run(
                *("initdb", "-D", "data", "-U", _USER, "--pwfile", str(password)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
                output=output,
            )
        try:
            assert made.wait(PATIENCE) == 0, log.read_text()
        finally:
            made.kill()
            made.wait()

    def _run(self, program: str, *arguments: str, output: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self._programs / program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the tests: they still drop their databases.
            start_new_session=True,
            **self._as_user,
        )
