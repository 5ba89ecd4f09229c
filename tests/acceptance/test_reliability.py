"""Every promise of docs/reliability.md has tests, which docs/reliability-tests.md names."""

from __future__ import annotations

import re

import pytest

from tests.support.servers import ROOT


def rows(page: str) -> dict[str, list[tuple[str, str]]]:
    """Returns the rows about what goes wrong, by the heading that they stand under."""
    found: dict[str, list[tuple[str, str]]] = {}
    sections = re.split(r"^## ", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.M)
    for section in sections:
        table = re.search(r"^\| what goes wrong \|.*\n\|-.*\n((?:\|.*\n)+)", section, re.M)
        if table:
            cells = [row.strip("| ").split(" | ") for row in table[1].splitlines()]
            found[section.splitlines()[0]] = [(first, second) for first, second in cells]
    return found


PROMISES = rows("reliability.md")
TESTS = rows("reliability-tests.md")
NAMED = sorted(
    {
        named
        for section in TESTS.values()
        for _, tests in section
        for named in re.findall(r"`(\w+\.py)(?:::(\w+))?`", tests)
    }
)


def test_every_promise_has_tests_and_every_test_a_promise() -> None:
    assert sum(map(len, PROMISES.values())) > 60
    assert {section: [wrong for wrong, _ in found] for section, found in TESTS.items()} == {
        section: [wrong for wrong, _ in found] for section, found in PROMISES.items()
    }
    assert [
        wrong for found in TESTS.values() for wrong, tests in found if "`test_" not in tests
    ] == []


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_the_named_tests_exist(module: str, name: str) -> None:
    paths = list((ROOT / "tests").rglob(module))
    assert paths
    found = [
        re.search(rf"(def|class) {name}\b", path.read_text(encoding="utf-8")) for path in paths
    ]
    assert not name or any(found)
