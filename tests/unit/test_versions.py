"""Traps by version of gearmand: one table, shown by a document."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gearmanny.protocol.versions import TRAPS, traps_of, version_question

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"

ALWAYS = {"http_obeyed"}
FROM_1_1_21 = {"stored_on_shutdown"}
BEFORE_2_1 = {"ssl_ignored", "no_retries_is_unlimited"}
BEFORE_2_0 = {trap.name for trap in TRAPS if trap.until == (2, 0, 0)}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.1.20+ds", ALWAYS | BEFORE_2_1 | BEFORE_2_0),
        ("1.1.21+ds-2", ALWAYS | FROM_1_1_21 | BEFORE_2_1 | BEFORE_2_0),
        ("2.0.0", ALWAYS | FROM_1_1_21 | BEFORE_2_1),
        ("2.0", ALWAYS | FROM_1_1_21 | BEFORE_2_1),
        ("2.1.0", ALWAYS | FROM_1_1_21),
        ("10.0.1", ALWAYS | FROM_1_1_21),
        ("gearmanny-1.0", set()),
        ("from git", {trap.name for trap in TRAPS}),
        ("", {trap.name for trap in TRAPS}),
    ],
)
def test_a_version_has_its_traps(version: str, expected: set[str]) -> None:
    assert {trap.name for trap in traps_of(version)} == expected


def test_names_are_names_of_one() -> None:
    assert len({trap.name for trap in TRAPS}) == len(TRAPS)


def test_versions_in_words() -> None:
    assert {trap.versions() for trap in TRAPS} == {
        "before 2.0.0", "before 2.1.0", "1.1.21 and later", "all",
    }  # fmt: skip


def test_the_document_shows_the_table() -> None:
    rows = [f"| {trap.versions()} | {trap.text} {trap.advice} |" for trap in TRAPS]
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "\n".join(rows) in text


@pytest.mark.parametrize(("version", "lines"), [("1.1.20+ds", 1), ("gearmanny-1.0", 0)])
def test_the_log_names_the_traps_of_a_version(
    caplog: pytest.LogCaptureFixture, version: str, lines: int
) -> None:
    question = version_question("here:4730", logging.getLogger("gearmanny.client"))
    assert question.question == b"version\r\n"
    with caplog.at_level(logging.INFO, "gearmanny.client"):
        answer = question.receive(f"OK {version}\n".encode())
        assert answer == version
        question.then(answer)
    assert len(caplog.records) == lines
    for record in caplog.records:
        for trap in traps_of(version):
            assert trap.name in record.getMessage()


def test_what_a_stranger_calls_its_version_stands_on_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    question = version_question("here:4730", logging.getLogger("gearmanny.client"))
    with caplog.at_level(logging.INFO, "gearmanny.client"):
        question.then("1.1\x1b[2J")
    assert "\x1b" not in caplog.text
