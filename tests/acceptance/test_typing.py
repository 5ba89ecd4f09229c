"""Type checkers know typed calls: what they report of right and of wrong ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import PATIENCE, ROOT

USES = ROOT / "tests" / "acceptance" / "typed_uses.py"

WRONG = {
    number
    for number, line in enumerate(USES.read_text().splitlines(), 1)
    if line.endswith("  # wrong")
}


def run(program: str, *arguments: str) -> str:
    """Returns what a type checker prints; it is installed with the extra `dev`."""
    path = Path(sys.executable).parent / program
    if not path.exists():
        pytest.skip(f"{program} is not installed: pip install -e .[dev]")
    return subprocess.run(
        [str(path), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 6,
        check=False,
    ).stdout


def test_mypy_reports_the_wrong_calls_and_no_other() -> None:
    output = run("mypy", str(USES))
    lines = {int(line) for line in re.findall(r"typed_uses\.py:(\d+): error", output)}
    assert lines == WRONG, output


def test_pyright_reports_the_wrong_calls_and_no_other(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": [str(USES)],
                "extraPaths": [str(ROOT)],
                "typeCheckingMode": "standard",
            }
        )
    )
    output = run("basedpyright", "--project", str(config), "--outputjson")
    lines = {
        report["range"]["start"]["line"] + 1
        for report in json.loads(output)["generalDiagnostics"]
        if report["severity"] == "error"
    }
    assert lines == WRONG, output
