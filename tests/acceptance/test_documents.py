"""What the documents show is true: README's Python runs, examples print what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import PATIENCE, ROOT, Server, end, find_program, until, workers_of
from tests.tls_proxy import Authority, proxy


def blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)


BLOCKS = blocks("README.md")
CALLS = blocks("docs/calls.md")
EXAMPLES = [block for block in CALLS if "office_" in block]
"""Of docs/calls.md, those that say in comments what they print."""


def block(mark: str, **replaced: str) -> str:
    """Returns the block that holds a mark, with addresses of our own servers."""
    (found,) = [block for block in [*BLOCKS, *CALLS] if mark in block]
    for old, new in replaced.items():
        assert {"gearmand": "localhost:4730", "mongodb": "localhost:27017"}[old] in found
        found = found.replace(
            {"gearmand": "localhost:4730", "mongodb": "localhost:27017"}[old], new
        )
    return found


def run(code: str, *arguments: str, folder: Path = ROOT) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def readme_workers(gearman_server: Server, tmp_path: Path) -> Iterator[None]:
    script = tmp_path / "workers.py"
    script.write_text(block("class TextWorker"))
    process = subprocess.Popen([sys.executable, str(script), gearman_server.host], text=True)
    try:
        until(lambda: workers_of(gearman_server, "text_echo") == 2, "two workers")
        yield
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_every_python_block_of_the_readme_is_run_here() -> None:
    assert len(BLOCKS) == 6
    assert len(CALLS) == len(EXAMPLES) + 1 + 4 + 2


def test_the_first_example_has_twelve_lines_and_works(gearman_server: Server) -> None:
    code = block("class MyWorker")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            code.replace("MyWorker()", f"MyWorker([{gearman_server.host!r}])"),
        ],
        text=True,
    )
    try:
        assert run(
            "from gearmanny.client import SimpleClient\n"
            f"print(SimpleClient([{gearman_server.host!r}], timeout=20)"
            ".myworker_add(a=10, b=15))"
        ) == ["25"]
    finally:
        end(worker)


@pytest.mark.usefixtures("readme_workers")
def test_the_clients_of_the_readme_print_what_it_says(gearman_server: Server) -> None:
    assert run(block("client.text_help()", gearmand=gearman_server.host)) == [
        "hihi",
        "Echoes the text",
        "text_echo() is missing required argument: 'text'. It takes text, double.",
        "Progress(done=1, total=2)",
        "Data(value='one')",
        "Progress(done=2, total=2)",
        "Data(value='two')",
        "True ['one', 'two']",
        "49995000",
        f"No answer from nobody_home() within 0.1 s. No worker offers it on "
        f"{gearman_server.host}. Start one that does, or look whether the name and the host are "
        "right.",
    ]


@pytest.mark.usefixtures("readme_workers")
def test_the_asyncio_client_of_the_readme_prints_what_it_says(gearman_server: Server) -> None:
    assert run(block("asyncio.gather(*(client", gearmand=gearman_server.host)) == [
        *("hi", "one", "two", "0", "1", "2", "later"),
        "['a', 'b', 'c']",
    ]


@pytest.mark.usefixtures("readme_workers")
def test_the_tls_of_the_readme_works(gearman_server: Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.client_files()
    demanding = authority.context("127.0.0.1", wants_certificate=True)
    with proxy(gearman_server.port, demanding) as running:
        assert run(block("tls = {", gearmand=running.host), folder=tmp_path) == ["hi"]


def test_typed_calls_work_as_their_document_says(gearman_server: Server, tmp_path: Path) -> None:
    host = gearman_server.host
    script = tmp_path / "typed_workers.py"
    script.write_text(block("class MathWorker", gearmand=host))
    (tmp_path / "math_interface.py").write_text(block("class Math(Interface)"))
    worker = subprocess.Popen([sys.executable, str(script)], text=True)
    try:
        assert run(block("submit = MathWorker", gearmand=host), folder=tmp_path) == [
            "3",
            "[0, 1, 4, 9]",
            "math_add() got unexpected argument: 'c'. It takes a, b.",
            "1",
            "3",
            "3",
        ]
        assert run(block("check_interface(Math,", gearmand=host), folder=tmp_path) == ["3"]
    finally:
        end(worker)


def test_the_cache_of_the_readme_works(mongodb_uri: str) -> None:
    host = mongodb_uri.removeprefix("mongodb://").rstrip("/")
    assert run(block("cacheBuilder", mongodb=host)) == ["3 3"]


def test_the_standalone_example_works(gearman_server: Server) -> None:
    script = str(ROOT / "examples" / "standalone.py")
    workers = subprocess.Popen([sys.executable, script, "work", gearman_server.host], text=True)
    try:
        done = subprocess.run(
            [sys.executable, script, "call", gearman_server.host],
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
    finally:
        workers.terminate()
        assert workers.wait(PATIENCE) == 0
    assert done.stdout.splitlines() == [
        "functions: prime_factors, prime_upto",
        "360 = 2 × 2 × 2 × 3 × 3 × 5",
        "prime_factors() failed on its worker: builtins.ValueError: 0 has no prime factors",
        "91, 97: [[7, 13], [97]]",
        "up to 20: [2, 3, 5, 7, 11, 13, 17, 19], after 27 updates",
    ], done.stderr


@pytest.fixture
def office(gearman_server: Server, tmp_path: Path) -> Iterator[None]:
    script = tmp_path / "call_workers.py"
    script.write_text(block("class Office", gearmand=gearman_server.host))
    process = subprocess.Popen([sys.executable, str(script)], text=True)
    try:
        until(lambda: workers_of(gearman_server, "office_copy") == 1, "a worker")
        yield
    finally:
        end(process)


@pytest.mark.usefixtures("office")
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_calls_print_what_they_say(gearman_server: Server, example: str) -> None:
    said = re.findall(r"(?:^ +| {2})# (.*)$", example, re.M)
    assert said
    assert run(example.replace("localhost:4730", gearman_server.host)) == said


def test_the_workers_of_bytes_print_what_they_say(gearman_server: Server, tmp_path: Path) -> None:
    script = tmp_path / "blobs.py"
    script.write_text(block("class Blobs", gearmand=gearman_server.host))
    find_program("gearman", "gearman-tools")
    port = gearman_server.host.rpartition(":")[2]
    processes = [
        subprocess.Popen([sys.executable, str(script)], text=True),
        subprocess.Popen(
            ["gearman", "-h", "127.0.0.1", "-p", port, "-w", "-f", "their_count", "--", "wc", "-c"],
            text=True,
        ),
    ]
    try:
        for function in ("blobs_sha256", "their_count"):
            until(lambda name=function: workers_of(gearman_server, name) == 1, function)
        example = block("blobs_sha256(b")
        said = re.findall(r" {2}# (.*)$", example, re.M)
        assert run(example.replace("localhost:4730", gearman_server.host)) == said
    finally:
        for process in processes:
            end(process)
