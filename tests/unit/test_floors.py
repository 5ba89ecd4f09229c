"""The house: who may import whom, who may touch what, and how long anything may be.

The map, and the table of the walls, are those of `docs/architecture.md`.

Every import counts, wherever it stands: also inside a function, and for types.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gearmanny

PACKAGE = Path(gearmanny.__file__).parent

LONGEST_MODULE = 330
LONGEST_FUNCTION = 60
"""Lines."""

PURE = (
    "gearmanny.commands.arguments",
    "gearmanny.commands.bar",
    "gearmanny.commands.conditions",
    "gearmanny.commands.overview",
    "gearmanny.commands.tables",
    "gearmanny.dispatching.counting",
    "gearmanny.dispatching.losses",
    "gearmanny.dispatching.refusals",
    "gearmanny.dispatching.schedule",
    "gearmanny.payload",
    "gearmanny.protocol",
    "gearmanny.tasks",
    "gearmanny.calling",
    "gearmanny.running.diagnosis",
    "gearmanny.running.options",
    "gearmanny.running.restarts",
    "gearmanny.running.roster",
    "gearmanny.working.decisions",
    "gearmanny.net.hosts",
    "gearmanny.helpers.breaker",
    "gearmanny.helpers.counting",
    "gearmanny.helpers.freshness",
    "gearmanny.helpers.keys",
    "gearmanny.helpers.options",
    "gearmanny.helpers.redaction",
    "gearmanny.helpers.switch",
    "gearmanny.helpers.values",
    "gearmanny.records.states",
    "gearmanny.records.values",
    "gearmanny.records.checks",
    "gearmanny.records.contract",
    "gearmanny.records.scheduling",
    "gearmanny.schedules",
    "gearmanny.errors",
)
"""Wings and modules without a socket, a thread and a clock."""

USES_DJANGO = ("gearmanny.contrib.django", "gearmanny.pytest_plugin")

NOT_PURE = {
    "socket", "select", "ssl", "threading", "time", "subprocess", "multiprocessing", "asyncio",
    "signal",
}  # fmt: skip

TOUCHES = {
    "cronsim": {"gearmanny.schedules.ticks"},
    "gearman": {"gearmanny.vocabulary.gearman_api"},
    "pymongo": {
        "gearmanny.helpers.aio",
        "gearmanny.helpers.blocking",
        "gearmanny.helpers.cache_mongodb",
        "gearmanny.helpers.entries",
        "gearmanny.helpers.indexes",
        "gearmanny.helpers.storage",
    },
    "bson": {
        "gearmanny.helpers.blocking",
        "gearmanny.helpers.entries",
        "gearmanny.helpers.indexes",
        "gearmanny.helpers.storage",
    },
    "opentelemetry": {"gearmanny.calling.tracing", "gearmanny.contrib.opentelemetry"},
    "prometheus_client": {
        "gearmanny.contrib.prometheus",
        "gearmanny.contrib.prometheus.instruments",
        "gearmanny.contrib.prometheus.queues",
        "gearmanny.contrib.prometheus.records",
        "gearmanny.contrib.prometheus.serving",
    },
    "psycopg": {"gearmanny.records.postgresql"},
    "sqlite3": {"gearmanny.records.sqlite", "gearmanny.serving.store"},
    "socket": {
        "gearmanny.net.doorbell",
        "gearmanny.aio.racing",
        "gearmanny.net.racing",
        "gearmanny.net.resolving",
        "gearmanny.running.childprocess",
        "gearmanny.net.loopback",
        "gearmanny.net.transport",
        "gearmanny.net.vanishing",
        "gearmanny.net.tls",
        "gearmanny.net.polling",
        "gearmanny.serving.listening",
        "gearmanny.serving.loop",
        "gearmanny.serving.embedded",
    },
    "ssl": {"gearmanny.net.tls"},
    "select": {"gearmanny.net.polling"},
    "multiprocessing": {
        "gearmanny.contrib.django.reloading",
        "gearmanny.running.childprocess",
        "gearmanny.contrib.prometheus.serving",
        "gearmanny.serving.process",
        "gearmanny.running.supervisor",
        "gearmanny.running.dispatchprocess",
        "gearmanny.running.orphans",
        "gearmanny.running.parting",
        "gearmanny.running.workprocess",
    },
    "signal": {
        "gearmanny.contrib.django.reloading",
        "gearmanny.contrib.prometheus.serving",
        "gearmanny.serving.process",
        "gearmanny.running.dispatchprocess",
        "gearmanny.running.log",
        "gearmanny.running.stacks",
        "gearmanny.working.timelimits",
        "gearmanny.running.childprocess",
        "gearmanny.net.forks",
        "gearmanny.working.interrupts",
        "gearmanny.running.signals",
        "gearmanny.commands.server",
    },
    "subprocess": {"gearmanny.contrib.django.reloading", "gearmanny.testing"},
    "asyncio": {
        "gearmanny.aio.connection",
        "gearmanny.aio.connections",
        "gearmanny.eager.aio",
        "gearmanny.aio.opening",
        "gearmanny.aio.racing",
        "gearmanny.aio.schedules",
        "gearmanny.aio.questions",
        "gearmanny.aio.driver",
        "gearmanny.aio.walker",
        "gearmanny.working.asynchooks",
        "gearmanny.contrib.django.clients",
        "gearmanny.contrib.django.eager",
        "gearmanny.contrib.django.taskcontract.tasks",
        "gearmanny.working.coroutines",
        "gearmanny.working.eventloop",
        "gearmanny.eager.joined",
        "gearmanny.helpers.aio",
        "gearmanny.helpers.coroutines",
        "gearmanny.records.watched",
        "gearmanny.serving.listening",
        "gearmanny.serving.loop",
        "gearmanny.serving.embedded",
        "gearmanny.serving.process",
    },
}
"""The only modules that may import each of these. Django belongs to everything above."""


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of every module of the package, by name."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


@cache
def storeys() -> dict[str, int]:
    """Where the map of the architecture draws each module: the number of its wing, or of itself
    where it is in none, from below."""
    drawn = _floors().split("```")[1].strip()
    places: dict[str, int] = {}
    folder, storey = "", 0
    for line in filter(None, drawn.splitlines()):
        entry = line.split()[0]
        if not line.startswith(" "):
            storey -= 1
            folder = entry if entry.endswith("/") else ""
        if entry.endswith(".py"):
            name = f"gearmanny/{folder}{entry}".removesuffix(".py").replace("/", ".")
            assert name not in places, f"{name} is drawn twice"
            places[name] = storey
        elif folder:
            places[f"gearmanny/{folder}".rstrip("/").replace("/", ".")] = storey
    return places


@cache
def walls() -> dict[str, list[str]]:
    """The modules and wings that each wing may import besides itself and the errors."""
    rows = (line.split("|")[1:3] for line in _floors().splitlines() if line.startswith("| `"))
    return {wing: _named(allowed) for wings, allowed in rows for wing in _named(wings)}


def _named(cell: str) -> list[str]:
    paths = re.findall("`([^`]+)`", cell)
    return [f"gearmanny/{path}".removesuffix(".py").rstrip("/").replace("/", ".") for path in paths]


def _floors() -> str:
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    return text.partition("## The floors")[2].partition("\n## ")[0]


def storey_of(module: str) -> int:
    """The storey of a module; that of its folder for what only makes a folder a package."""
    while module not in storeys() and "." in module:
        module = module.rpartition(".")[0]
    return storeys().get(module, -len(storeys()))  # the package itself lies below all


def wing_of(module: str) -> str:
    """The name of the wing of a module; its own where it is in none."""
    return module.split(".")[1] if "." in module else ""


def is_one_of(module: str, names: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"{name}.") for name in names)


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


every_module = pytest.mark.parametrize("module", modules())


def test_the_map_of_the_architecture_shows_the_modules_that_exist() -> None:
    exist = {name for name in modules() if not (PACKAGE.parent / name.replace(".", "/")).is_dir()}
    drawn = {name for name in storeys() if (PACKAGE.parent / name.replace(".", "/")).is_dir()}
    assert set(storeys()) - drawn == exist


@every_module
def test_imports_point_downwards_or_stay_in_their_wing(module: str) -> None:
    upwards = {
        name for name in of_the_package(all_imports(module)) if storey_of(name) > storey_of(module)
    }
    assert not upwards, f"{module} must not import what the map draws above it"


@every_module
def test_no_import_goes_through_a_wall(module: str) -> None:
    wing = ".".join(module.split(".")[:2])
    if wing in walls():
        allowed = [wing, "gearmanny.errors", *walls()[wing]]
        through = {
            name
            for name in of_the_package(all_imports(module)) - {"gearmanny"}
            if not is_one_of(name, allowed)
        }
        assert not through, f"{wing} may import only {', '.join(allowed)}"


def test_walls_stand_around_wings_that_exist() -> None:
    named = {*walls(), *(name for allowed in walls().values() for name in allowed)}
    assert len(walls()) == 14
    assert named <= set(modules())


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: of_the_package(all_imports(module)) for module in modules()}
    _check_no_circle(graph)


def test_no_wings_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module in modules():
        wings = {wing_of(name) for name in of_the_package(all_imports(module))}
        graph.setdefault(wing_of(module), set()).update(wings - {wing_of(module)})
    _check_no_circle(graph)


def _check_no_circle(graph: dict[str, set[str]]) -> None:
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
    if not is_one_of(module, USES_DJANGO):
        assert "django" not in {name.split(".")[0] for name in all_imports(module)}


@pytest.mark.parametrize("module", [name for name in modules() if is_one_of(name, PURE)])
def test_what_is_pure_has_no_socket_no_thread_and_no_clock(module: str) -> None:
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


@every_module
def test_only_one_module_says_what_a_number_is(module: str) -> None:
    """A check that leaves out `bool`, as whoever writes one at home has to."""
    if module != "gearmanny.payload.checks":
        calls = [node for node in ast.walk(modules()[module]) if isinstance(node, ast.Call)]
        checked = {
            name.id
            for call in calls
            if ast.unparse(call.func) == "isinstance"
            for name in ast.walk(call.args[1])
            if isinstance(name, ast.Name)
        }
        assert not checked & {"bool", "float"}, "take a rule of payload/checks.py"


@pytest.mark.parametrize("folder", ["benchmarks", "chaos", "fuzz", "tools"])
def test_what_runs_beside_the_tests_imports_nothing_from_them(folder: str) -> None:
    paths = sorted((Path(__file__).parents[2] / folder).rglob("*.py"))
    assert paths
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        names = {name for node in ast.walk(tree) for name in imported(node)}
        assert "tests" not in {name.split(".")[0] for name in names}, path
