"""Every promise of docs/reliability.md names the test that proves it."""

from __future__ import annotations

import re

import pytest

from tests.servers import ROOT

TABLE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(\w+\.py)(?:::(\w+))?`", TABLE)))


def test_every_row_names_a_test() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 30
    headings = [row for row in rows if row.startswith("| what goes wrong")]
    assert [row for row in rows if row not in headings and "`test_" not in row] == []


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_the_named_tests_exist(module: str, name: str) -> None:
    (path,) = (ROOT / "tests").rglob(module)
    assert not name or re.search(rf"(def|class) {name}\b", path.read_text(encoding="utf-8"))
