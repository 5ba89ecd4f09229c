"""The command `gearmanny`, as a process."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gearmanny import cli
from gearmanny.admin import JobServer as Admin
from gearmanny.client import SimpleClient
from gearmanny.commands import server
from gearmanny.embedded import JobServer
from gearmanny.helpers.cache_mongodb import cacheBuilder
from gearmanny.protocol.packets import PacketType as P
from gearmanny.protocol.versions import traps_of
from gearmanny.testing import Gearmand
from tests.contract.wire import Wire
from tests.support.servers import PATIENCE, ROOT, end, free_port

SERVER = [sys.executable, "-W", "error", "-m", "gearmanny", "server"]


def start(*options: str) -> tuple[subprocess.Popen[str], int]:
    """Starts a job server; returns its process and its port."""
    process = subprocess.Popen([*SERVER, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r" at 127\.0\.0\.1:(\d+),", line)
    assert found, line
    return process, int(found[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_it_is_for_and_a_signal_ends_it(number: signal.Signals) -> None:
    process, port = start("--port", "0")
    try:
        with Wire(port) as connected:
            assert connected.has_nothing()
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        said = " ".join(process.stdout.read().split())
    finally:
        end(process)
    for words in (
        "for development, tests and single-machine use",
        "In production, use gearmand",
        "only the hosts",
        "Ctrl-C",
    ):
        assert words in said


def test_no_job_that_was_accepted_is_lost_with_a_server_that_is_killed(tmp_path: Path) -> None:
    options = ["--port", "0", "--store", str(tmp_path / "jobs.db")]
    jobs, accepted = 5000, 1000
    process, port = start(*options)
    try:
        with Wire(port) as caller:
            caller.send(*[(P.SUBMIT_JOB_BG, (b"f", b"%d" % n, b"x" * 100)) for n in range(jobs)])
            assert all(caller.receive()[0] == P.JOB_CREATED for _ in range(accepted))
            process.kill()
            process.wait(PATIENCE)
    finally:
        end(process)
    process, port = start(*options)
    try:
        (row,) = Admin(f"127.0.0.1:{port}").status()
    finally:
        end(process)
    assert (row.function, row.running) == ("f", 0)
    assert accepted <= row.total <= jobs


def test_no_job_that_was_done_comes_back_after_a_server_is_killed(tmp_path: Path) -> None:
    options = ["--port", "0", "--store", str(tmp_path / "jobs.db")]
    submitted = 0
    accepted: set[str] = set()
    done: set[str] = set()
    for _ in range(4):
        process, port = start(*options)
        try:
            with Wire(port) as caller, Wire(port) as worker:
                kept = caller.rows("show unique jobs")
                assert len(kept) == len(set(kept))
                assert accepted - done <= set(kept)
                assert not done & set(kept)
                keys = [f"{number}" for number in range(submitted, submitted + 1000)]
                submitted += len(keys)
                caller.send(*[(P.SUBMIT_JOB_BG, (b"f", key.encode(), b"")) for key in keys])
                worker.tell(P.CAN_DO, b"f")
                for key in keys[:300]:
                    assert caller.receive()[0] == P.JOB_CREATED
                    accepted.add(key)
                for _ in range(50):
                    _, (handle, _, key_done, _) = worker.ask(P.GRAB_JOB_UNIQ)
                    worker.tell(P.WORK_COMPLETE, handle, b"")
                    done.add(key_done.decode())
                process.kill()
                process.wait(PATIENCE)
        finally:
            end(process)
    assert len(done) == 4 * 50


def test_a_server_that_cannot_keep_a_job_does_not_accept_it_and_goes_on(tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -f 500; exec "$@"', "sh", *SERVER, "--port", "0"]
    process = subprocess.Popen(
        [*limited, "--store", str(tmp_path / "jobs.db")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline().split(":")[2].split(",")[0])
        with Wire(port) as caller:
            caller.submit(P.SUBMIT_JOB_BG, b"f", b"small", b"")
            caller.send((P.SUBMIT_JOB_BG, (b"f", b"large", b"x" * 1_000_000)))
            assert caller.received_until_closed() == b""
        with Wire(port) as caller:
            assert caller.rows("show unique jobs") == ["small", "large"]
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert "cannot be written: " in process.stderr.read()
    finally:
        end(process)
    with JobServer(store=tmp_path / "jobs.db") as server, Wire(server.port) as caller:
        assert caller.rows("show unique jobs") == ["small"]


def test_a_taken_port_is_said_in_one_line() -> None:
    with JobServer() as server:
        done = subprocess.run(
            [*SERVER, "--port", str(server.port)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"gearmanny: Port \d+ of 127\.0\.0\.1 is in use by .*\n", done.stderr)


def test_the_example_of_the_document_runs() -> None:
    text = (ROOT / "docs/embedded.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_document_lists_the_options_with_their_defaults_and_help() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    server.add_arguments(parser)
    page = (ROOT / "docs/embedded.md").read_text(encoding="utf-8").replace("`", "")
    (rows,) = re.findall(r"^\| option.*\n\|-.*\n((?:\|.*\n)+)", page, re.M)
    assert [re.split(r" \| |\| | \|", row)[1:4] for row in rows.splitlines()] == [
        [
            " ".join(filter(None, [*action.option_strings, action.metavar])),
            default.removesuffix(")") % {"default": action.default},
            text,
        ]
        for action in parser._actions
        for text, _, default in [str(action.help).partition(" (default: ")]
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "65536"], "--port: must be a whole number from 0 to 65535, not '65536'"),
        (["--port", "x"], "--port: must be a whole number from 0 to 65535, not 'x'"),
        (["--address", ""], "--address: must be an address of this machine"),
    ],
)
def test_a_wrong_option_exits_with_2_and_says_what_is_allowed(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(["server", *options])
    assert exited.value.code == 2
    assert message in capsys.readouterr().err


def test_the_cache_is_shown_and_cleared(
    mongodb_uri: str, unique_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cachewrap = cacheBuilder(mongodb_uri, collection=unique_name, timeout=10)
    cachewrap("reports")(lambda: 1)()
    named = ["cache", "--mongodb", mongodb_uri, "--collection", unique_name]
    assert cli.main([*named, "info"]) == 0
    assert capsys.readouterr().out.startswith("reports: 1 answers, ")
    assert cli.main([*named, "clear", "reports"]) == 0
    assert capsys.readouterr().out == "1 answer deleted\n"
    assert cli.main([*named, "info"]) == 0
    assert capsys.readouterr().out == ""
    away = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    assert cli.main(["cache", "--mongodb", away, "info"]) == 1
    assert "MongoDB cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "No database is given"),
        (["--records", "jobs.db"], "A store is written"),
        (["--records", "sqlite:///jobs.db", "--host", "a/b"], 'of the form "name:port"'),
    ],
    ids=["no URL", "not a URL", "not a host"],
)
def test_a_dispatcher_without_a_store_or_a_job_server_says_what_is_missing(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["dispatch", *arguments]) == cli.WRONG
    assert said in capsys.readouterr().err


def test_the_help_of_dispatch_has_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["dispatch", "--help"])
    shown = capsys.readouterr().out
    for option in ("--records", "--host", "--keep", "--max-unclaimed", "--max-deaths"):
        assert option in shown


def test_status_shows_the_functions_and_the_traps_of_a_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Gearmand() as server, SimpleClient([server.host]) as client:
        client.using(background=True).shop_price()
        assert cli.main(["status", server.host]) == 0
        said = capsys.readouterr().out
        version = Admin(server.host).version()
    assert said.startswith(f"{server.host}: {version}\n\n  FUNCTION    WAITING  RUNNING  WORKERS\n")
    assert [line.split()[1] for line in said.splitlines() if line.startswith("  trap ")] == [
        f"{trap.name}:" for trap in traps_of(version)
    ]
    assert cli.main(["status", server.host]) == 1
