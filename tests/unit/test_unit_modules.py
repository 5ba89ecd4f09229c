"""Each module of a pure wing, and the roster, has a unit test module of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.servers import ROOT

WINGS = ("calling", "payload", "protocol", "schedules", "tasks")

TOGETHER = {
    "calling/again": "test_resending",
    "calling/exchange": "test_call",
    "calling/line": "test_handover",
    "calling/recordvalues": "test_records",
    "calling/recordwaits": "test_records",
    "calling/steps": "test_walk",
    "calling/uniques": "test_caller",
    "calling/values": "test_call",
    "calling/work": "test_workobjects",
    "protocol/journal": "test_protocol_broker",
    "protocol/parser": "test_packets",
    "protocol/requests": "test_protocol_server",
    "tasks/description": "test_spec",
}
"""Modules that are tested with another one, and where."""

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
    """Returns whether test modules are named after a module; after its wing, too, where modules of
    several wings share the name."""
    wing, name = module.split("/")
    names = [f"test_{wing}_{name}"]
    if sum(other.endswith(f"/{name}") for other in MODULES) == 1:
        names.append(f"test_{name}")
    tests = Path(__file__).parent
    return any(any(tests.glob(f"{name}{end}")) for name in names for end in (".py", "_*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_each_pure_module_has_its_own_tests(module: str) -> None:
    assert has_own_tests(module) == (module not in TOGETHER)


def test_what_is_tested_together_exists() -> None:
    assert set(MODULES) >= set(TOGETHER)
    for tests in TOGETHER.values():
        assert Path(__file__).with_name(f"{tests}.py").exists()
