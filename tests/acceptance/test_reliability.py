"""Every promise of docs/reliability.md names the test that proves it."""

from __future__ import annotations

import re

import pytest

from tests.servers import ROOT

TABLE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(\w+\.py)(?:::(\w+))?`", TABLE)))


def test_every_row_names_a_test() -> None:
    rows = [line for line in TABLE.splitlines() if line.count(" | ") == 2]
    promises = [row for row in rows if not row.startswith("| what goes wrong |")]
    assert len(promises) > 30
    assert [row for row in promises if "`test_" not in row] == []


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_the_named_tests_exist(module: str, name: str) -> None:
    paths = list((ROOT / "tests").rglob(module))
    assert paths
    found = [
        re.search(rf"(def|class) {name}\b", path.read_text(encoding="utf-8")) for path in paths
    ]
    assert not name or any(found)
