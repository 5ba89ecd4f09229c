"""docs/checks.md lists the system checks that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gearmanny
from tests.support.servers import ROOT

DOCUMENT = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
LISTED = re.findall(r"^- \*\*(gearmanny\.\w+)\*\*: ", DOCUMENT, re.M)
LEVELS = {"E": "Error", "W": "Warning"}
"""Django's names for the levels of messages, by the letter of their ids."""


def messages() -> Iterator[tuple[str, str]]:
    """The level and the id of each message that the code of the package makes."""
    for path in Path(gearmanny.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    value = ast.unparse(keyword.value).strip("'")
                    if keyword.arg == "id" and value.startswith("gearmanny."):
                        yield ast.unparse(node.func), value


def test_the_page_lists_every_check_once_and_no_other() -> None:
    in_code = [number for _, number in messages()]
    assert in_code
    assert sorted(LISTED) == sorted(in_code)


def test_every_check_has_an_id_of_its_own() -> None:
    numbers = [number for _, number in messages()]
    assert len(set(numbers)) == len(numbers)


def test_the_letter_of_an_id_is_that_of_its_level() -> None:
    for level, number in messages():
        assert LEVELS[number.removeprefix("gearmanny.")[0]] == level


def test_documents_name_no_check_that_is_not_listed() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"gearmanny\.[EW]\d{3}", text)) <= set(LISTED), path.name
