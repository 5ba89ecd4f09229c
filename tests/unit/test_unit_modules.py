"""Each module of a pure wing, and the roster, has a unit test module of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import ROOT

WINGS = ("calling", "payload", "protocol", "tasks")

UNDER_WAY = {
    "calling/again", "calling/caller", "calling/exchange", "calling/options", "calling/steps",
    "calling/tracing", "calling/values", "protocol/workerstate", "tasks/description",
    "tasks/options", "tasks/spec",
}  # fmt: skip
"""Modules that have none yet."""

MODULES = [
    *(
        f"{wing}/{path.stem}"
        for wing in WINGS
        for path in sorted((ROOT / "gearmanny" / wing).glob("*.py"))
        if path.stem != "__init__"
    ),
    "running/roster",
]


def has_own_tests(module: str) -> bool:
    """Returns whether a test module is named after a module; after its wing, too, where modules of
    several wings share the name."""
    wing, name = module.split("/")
    names = [f"test_{wing}_{name}.py"]
    if sum(other.endswith(f"/{name}") for other in MODULES) == 1:
        names.append(f"test_{name}.py")
    return any(Path(__file__).with_name(name).exists() for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_each_pure_module_has_its_own_tests(module: str) -> None:
    assert has_own_tests(module) == (module not in UNDER_WAY)


def test_the_exceptions_exist() -> None:
    assert set(MODULES) >= UNDER_WAY
