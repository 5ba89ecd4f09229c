"""The work objects of both sides show the names that docs/calls.md promises, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gearmanny.aio import AioWorkResult
from gearmanny.results import WorkResult

PAGE = Path(__file__).parents[2] / "docs" / "calls.md"


@pytest.mark.parametrize("kind", [WorkResult, AioWorkResult])
def test_they_show_what_is_promised(kind: type) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Work objects")[2].partition("\n## ")[0]
    promised = re.findall(r"^\| `(\w+)", section, re.MULTILINE)
    assert [name for name in dir(kind) if not name.startswith("_")] == sorted(promised)
    assert not hasattr(kind.__new__(kind), "__dict__")
