"""A store behind PgBouncer: in transaction mode sessions have neither locks nor notifications."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gearmanny.net.loopback import free_port
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Change, Claimed, NewJob
from tests.contract.records.conftest import url_of
from tests.contract.records.test_jobs import look, submit
from tests.support.servers import PATIENCE, find_program, until

_SETTINGS = """
[databases]
* = host={HOST} port={PORT} user={USER} password={PASSWORD}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = {round_robin}
"""


@contextlib.contextmanager
def pooler(entry: dict[str, Any], *, mode: str, size: int, round_robin: int) -> Iterator[str]:
    """Runs a PgBouncer before a database; yields the URL of a store there."""
    program = find_program("pgbouncer", "pgbouncer")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="gearmanny-pgbouncer-"))
    user: dict[str, Any] = {}
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        _SETTINGS.format(**entry, listen_port=port, mode=mode, size=size, round_robin=round_robin)
    )
    if os.geteuid() == 0:  # whom PgBouncer refuses to be run by
        nobody = pwd.getpwnam("nobody")
        for path in (folder, settings):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **user
        )
    url = url_of(entry | {"PORT": str(port)})

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        until(answers, "PgBouncer answering")
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)
        shutil.rmtree(folder)


@pytest.fixture(
    params=[("transaction", 20, 0), ("transaction", 1, 0), ("transaction", 20, 1)], ids=str
)
def shared(request: pytest.FixtureRequest, postgres_database: dict[str, Any]) -> Iterator[str]:
    """The URL of a store behind a PgBouncer in transaction mode."""
    mode, size, round_robin = request.param
    with pooler(postgres_database, mode=mode, size=size, round_robin=round_robin) as url:
        yield url


def test_shared_sessions_are_noticed(shared: str) -> None:
    store = SQLStore(shared)
    assert not store._connections.connector.has_sessions
    store.close()


def test_a_pooler_that_gives_each_client_a_session_is_none(
    postgres_database: dict[str, Any],
) -> None:
    with pooler(postgres_database, mode="session", size=20, round_robin=0) as url:
        store = SQLStore(url)
        assert store._connections.connector.has_sessions
        store.close()


def test_jobs_live_their_lives_behind_a_pooler(
    shared: str, postgres_database: dict[str, Any]
) -> None:
    direct, store, other = SQLStore(url_of(postgres_database)), SQLStore(shared), SQLStore(shared)
    process = store.register()
    for number in range(20):  # a statement that is often used would be prepared
        for each in (store, other):
            claimed = each.claim(submit(each), "f", 1, process.id)
            assert isinstance(claimed, Claimed)
            assert each.progress(claimed.claim, number, 20)
            assert each.finish(claimed.claim, Event.SUCCEEDED, str(number))
            assert look(other, claimed.claim.id).state is State.SUCCEEDED
    store.submit([NewJob("f", handed_over=False)])
    assert len(other.hand_over(10, 10)) == 1
    assert store.dead_processes() == direct.dead_processes() == []
    # Both sides see that the other one's process lives, each in its own way.
    locked = direct.register()
    assert store.dead_processes() == []
    for give_a_sign in (lambda: store.beat([process.id]), store.renew):
        with psycopg.connect(url_of(postgres_database)) as connection:
            connection.execute("UPDATE gearmanny_processes SET beat = beat - interval '1 minute'")
        assert direct.dead_processes() == [process.id]
        give_a_sign()
        assert direct.dead_processes() == []
    assert {each.id for each in store.processes()} == {process.id, locked.id}
    for each in (direct, store, other):
        each.close()


def test_who_waits_behind_a_pooler_looks_again(shared: str) -> None:
    store = SQLStore(shared)
    with store.changes() as waiting:
        assert waiting.wait(0.01) == [Change("anything")]
    store.close()
