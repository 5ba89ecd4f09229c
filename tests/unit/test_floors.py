"""The house: who may import whom, who may touch what, and how long anything may be.

Every import counts, wherever it stands: also inside a function, and for types.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gearmanny

PACKAGE = Path(gearmanny.__file__).parent

LONGEST_MODULE = 330
LONGEST_FUNCTION = 60
"""Lines."""

FLOORS = [
    # 0: pure. No socket, no thread, no clock: time comes in as an argument.
    """gearmanny gearmanny.errors gearmanny.limits gearmanny.names gearmanny.tasks
    gearmanny.taskoptions gearmanny.failures gearmanny.backoff gearmanny.runlimits
    gearmanny.protocol gearmanny.protocol.packets gearmanny.protocol.incoming
    gearmanny.protocol.outgoing gearmanny.protocol.client gearmanny.protocol.worker
    gearmanny.protocol.admin
    gearmanny.protocol.queue gearmanny.protocol.broker
    gearmanny.protocol.server gearmanny.protocol.server_admin
    gearmanny.helpers gearmanny.helpers._freshness gearmanny.contrib""",
    # 1: the outside world, one file for each part of it.
    """gearmanny.gearman_api gearmanny.encoding gearmanny.options gearmanny.polling
    gearmanny.tls gearmanny.transport gearmanny.loopback gearmanny.timelimits gearmanny.store
    gearmanny.hooks gearmanny.tracing gearmanny.progress gearmanny.base gearmanny.forks
    gearmanny.interrupts""",
    # 2: the drivers, and the job server's.
    """gearmanny.admin gearmanny.hostchoice gearmanny.caller gearmanny.connections
    gearmanny.submission gearmanny.channel
    gearmanny.inquiries gearmanny.resending gearmanny.results gearmanny.client
    gearmanny.aio gearmanny.aio.opening gearmanny.aio.connection gearmanny.aio.connections
    gearmanny.aio.inquiries gearmanny.aio.questions gearmanny.aio.resending gearmanny.aio.results
    gearmanny.aio.client
    gearmanny.link gearmanny.connector gearmanny.attempts gearmanny.jobs gearmanny.companions
    gearmanny.workloop
    gearmanny.interface gearmanny.agreement gearmanny.taskrunners gearmanny.coroutines
    gearmanny.asynchooks
    gearmanny.worker gearmanny.eager gearmanny.aio.eager
    gearmanny.serverloop gearmanny.embedded
    gearmanny.helpers.cache_mongodb gearmanny.helpers._collection
    gearmanny.contrib.prometheus.queues gearmanny.contrib.prometheus.instruments
    gearmanny.contrib.opentelemetry""",
    # 3: processes, and what tests need.
    """gearmanny.workprocess gearmanny.childprocess gearmanny.supervisor gearmanny.workrunner
    gearmanny.serverprocess gearmanny.testing
    gearmanny.contrib.prometheus gearmanny.contrib.prometheus.serving""",
    # 4: the command line.
    "gearmanny.cli gearmanny.__main__",
]
ABOVE = ("gearmanny.contrib.django", "gearmanny.pytest_plugin")

NOT_PURE = {
    "socket", "select", "ssl", "threading", "time", "subprocess", "multiprocessing", "asyncio",
    "signal",
}  # fmt: skip

TOUCHES = {
    "gearman": {"gearmanny.gearman_api"},
    "pymongo": {"gearmanny.helpers.cache_mongodb", "gearmanny.helpers._collection"},
    "bson": {"gearmanny.helpers.cache_mongodb", "gearmanny.helpers._collection"},
    "opentelemetry": {"gearmanny.tracing", "gearmanny.contrib.opentelemetry"},
    "prometheus_client": {
        "gearmanny.contrib.prometheus",
        "gearmanny.contrib.prometheus.instruments",
        "gearmanny.contrib.prometheus.queues",
        "gearmanny.contrib.prometheus.serving",
    },
    "sqlite3": {"gearmanny.store"},
    "socket": {
        "gearmanny.childprocess",
        "gearmanny.loopback",
        "gearmanny.transport",
        "gearmanny.tls",
        "gearmanny.polling",
        "gearmanny.serverloop",
        "gearmanny.embedded",
    },
    "ssl": {"gearmanny.tls"},
    "select": {"gearmanny.polling"},
    "multiprocessing": {
        "gearmanny.childprocess",
        "gearmanny.contrib.prometheus.serving",
        "gearmanny.serverprocess",
        "gearmanny.supervisor",
        "gearmanny.workprocess",
    },
    "signal": {
        "gearmanny.contrib.prometheus.serving",
        "gearmanny.serverprocess",
        "gearmanny.supervisor",
        "gearmanny.timelimits",
        "gearmanny.childprocess",
        "gearmanny.forks",
        "gearmanny.interrupts",
        "gearmanny.workrunner",
        "gearmanny.cli",
    },
    "subprocess": {"gearmanny.testing"},
    "asyncio": {
        "gearmanny.aio.connection",
        "gearmanny.aio.connections",
        "gearmanny.aio.eager",
        "gearmanny.aio.opening",
        "gearmanny.aio.questions",
        "gearmanny.aio.resending",
        "gearmanny.aio.results",
        "gearmanny.asynchooks",
        "gearmanny.contrib.django.clients",
        "gearmanny.contrib.django.eager",
        "gearmanny.coroutines",
        "gearmanny.eager",
        "gearmanny.serverloop",
        "gearmanny.embedded",
        "gearmanny.serverprocess",
    },
}
"""Who alone may import what. Django belongs to everything above."""

FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules.split()}


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of every module of the package, by name."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


def is_above(module: str) -> bool:
    return any(f"{module}.".startswith(f"{each}.") for each in ABOVE)


def floor_of(module: str) -> int:
    if is_above(module):
        return len(FLOORS)
    return FLOOR_OF[module]


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that a statement names: `from a import b` may name `a` or `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.module, "imports here are absolute"
        assert node.level == 0, "imports here are absolute"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in modules() else node.module


def all_imports(module: str) -> set[str]:
    return {name for node in ast.walk(modules()[module]) for name in imported(node)}


def of_the_package(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "gearmanny"}


def outside_of_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements that an import of the module runs."""
    for node in ast.iter_child_nodes(tree):
        for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        if not for_types and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
            yield from outside_of_functions(node)


every_module = pytest.mark.parametrize("module", modules())


@every_module
def test_every_module_lives_on_a_floor(module: str) -> None:
    assert module in FLOOR_OF or is_above(module), (
        f"{module} has no floor: give it one in {Path(__file__).name}, and in the architecture"
    )


def test_every_floor_holds_modules_that_exist() -> None:
    assert set(FLOOR_OF) <= set(modules())


@every_module
def test_no_import_points_upwards(module: str) -> None:
    upwards = {
        name for name in of_the_package(all_imports(module)) if floor_of(name) > floor_of(module)
    }
    assert not upwards, f"{module} (floor {floor_of(module)}) must not import from above"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: of_the_package({n for node in outside_of_functions(tree) for n in imported(node)})
        for module, tree in modules().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@every_module
def test_only_the_one_file_for_it_touches_the_outside_world(module: str) -> None:
    for name in all_imports(module):
        owners = TOUCHES.get(name.split(".")[0])
        assert owners is None or module in owners, f"{module} imports {name}"


@every_module
def test_django_is_known_only_above(module: str) -> None:
    if floor_of(module) < len(FLOORS):
        assert "django" not in {name.split(".")[0] for name in all_imports(module)}


@pytest.mark.parametrize("module", FLOORS[0].split())
def test_the_pure_floor_has_no_socket_no_thread_and_no_clock(module: str) -> None:
    assert not NOT_PURE & {name.split(".")[0] for name in all_imports(module)}
    clocks = {"now", "utcnow", "today", "monotonic"}
    called = {node.attr for node in ast.walk(modules()[module]) if isinstance(node, ast.Attribute)}
    assert not clocks & called


@every_module
def test_only_the_protocol_knows_packets(module: str) -> None:
    if not module.startswith("gearmanny.protocol"):
        assert "gearmanny.protocol.packets" not in all_imports(module)
        assert "PacketType" not in ast.unparse(modules()[module])


@every_module
def test_no_module_does_too_much(module: str) -> None:
    tree = modules()[module]
    lines = max((node.end_lineno or 0 for node in tree.body), default=0)
    assert lines <= LONGEST_MODULE, f"{module}: what is the second thing in it?"


@every_module
def test_no_function_does_too_much(module: str) -> None:
    for node in ast.walk(modules()[module]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{module}.{node.name} has {lines} lines"


@pytest.mark.parametrize("folder", ["benchmarks", "chaos", "fuzz", "tools"])
def test_what_runs_beside_the_tests_imports_nothing_from_them(folder: str) -> None:
    paths = sorted((Path(__file__).parents[2] / folder).rglob("*.py"))
    assert paths
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        names = {name for node in ast.walk(tree) for name in imported(node)}
        assert "tests" not in {name.split(".")[0] for name in names}, path
